"""Headers may count in metres and micrometres: the same place is the same place."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from trainables.cohort import CohortConfig, check, find_cohort, prepare, prepare_volume, write_volume
from trainables.cohort.nifti import load_grid
from trainables.errors import UserError

EARLY, DELAYED = "acq-early_ce-gadobutrol_T1w", "acq-delayed_ce-gadobutrol_T1w"
PER_MM = {"mm": 1, "micron": 1000, "meter": 0.001, "unknown": 1}


def _file(root: Path, number: int, end: str) -> Path:
    return root / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_{end}.nii.gz"


def _in_unit(path: Path, unit: str, *, lie: bool = False) -> None:
    """Stores the image with a header that counts in another unit; `lie`: that says so, and has millimetres."""
    image = nib.load(path)
    affine = np.diag([*[1 if lie else PER_MM[unit]] * 3, 1]) @ image.affine
    stored = nib.Nifti1Image(np.asarray(image.dataobj), affine)
    stored.header.set_xyzt_units(unit, "sec")
    nib.save(stored, path)


@pytest.mark.parametrize("unit", PER_MM)
@pytest.mark.parametrize("resample", [False, True])
def test_any_file_of_a_subject_may_count_in_another_unit(tmp_path: Path, make_bids, unit: str, resample: bool) -> None:
    root, config = make_bids(tmp_path / "bids", num_subjects=3), CohortConfig(resample=resample)
    before = prepare(find_cohort(root, config), config, tmp_path / "cache")
    for number, end in ((1, DELAYED), (1, "label-lesion_mask"), (2, EARLY), (3, "label-brain_mask")):
        _in_unit(_file(root, number, end), unit)
        grid = load_grid(_file(root, number, end))
        np.testing.assert_allclose(grid.affine, np.diag([2.0, 2, 2, 1]), rtol=1e-6)
    report = check(root, config)
    assert report.ok
    assert report.summary["voxel_sizes_mm"] == {"2.0 x 2.0 x 2.0": 3}
    names = {"micron": "micrometres", "meter": "metres"}
    assert [row["notes"] for row in report.rows] == (
        [[f"target: its header counts in {names[unit]}"], [f"source: its header counts in {names[unit]}"], []]
        if unit in names
        else [[], [], []]
    )
    after = prepare(find_cohort(root, config), config, tmp_path / "cache")
    for name in ("source", "target", "mask", "lesion"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    np.testing.assert_allclose(after.subjects[1].geometry.stored_affine, np.diag([2.0, 2, 2, 1]), rtol=1e-6)


@pytest.mark.parametrize("code", [4, 5, 7])
def test_a_unit_that_does_not_exist_is_millimetres(tmp_path: Path, make_bids, code: int) -> None:
    path = _file(make_bids(tmp_path / "bids", num_subjects=1), 1, EARLY)
    image = nib.load(path)
    image.header["xyzt_units"] = code
    nib.save(image, path)
    assert load_grid(path).voxel_size_mm == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("resample", [False, True])
@pytest.mark.parametrize(("unit", "size"), [("micron", "1/1e\\+03"), ("meter", "1e\\+03 times")])
def test_a_unit_that_cannot_be_is_named(tmp_path: Path, make_bids, unit: str, size: str, resample: bool) -> None:
    """Millimetres under another name: never resampled into a blur, and no advice to do so."""
    root, config = make_bids(tmp_path / "bids", num_subjects=3), CohortConfig(resample=resample)
    _in_unit(_file(root, 2, DELAYED), unit, lie=True)
    with pytest.raises(UserError, match=rf"sub-02_\S+: its voxels are {size} the size.*\({unit} and mm\)") as raised:
        prepare(find_cohort(root, config), config, tmp_path / "cache")
    assert "resample" not in str(raised.value)


def test_voxels_of_no_head_are_noted(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids", num_subjects=3)
    for path in (root / "sub-01" / "anat").iterdir():
        _in_unit(path, "micron", lie=True)
    report = check(root, CohortConfig())
    assert report.ok  # it may be a micro-CT
    assert "source: its voxels measure 0.002 x 0.002 x 0.002 mm; check the unit of length" in report.rows[0]["notes"][1]


def test_what_is_synthesised_keeps_the_sources_unit(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids", num_subjects=1)
    path = _file(root, 1, EARLY)
    _in_unit(path, "micron")
    volume = prepare_volume(path, CohortConfig(), _file(root, 1, "label-brain_mask"))
    write_volume(volume.source, volume, tmp_path / "out.nii.gz")
    source, out = nib.load(path), nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(out.affine, source.affine)
    assert out.header.get_xyzt_units() == ("micron", "sec")
    np.testing.assert_array_equal(out.header.get_zooms(), source.header.get_zooms())
    np.testing.assert_allclose(load_grid(tmp_path / "out.nii.gz").voxel_size_mm, (2, 2, 2), rtol=1e-6)
