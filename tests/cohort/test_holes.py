"""NaN and infinite voxels: filled from around inside the mask, background outside of it, said and counted."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from trainables.cohort import CohortConfig, check, find_cohort, prepare, prepare_volume
from trainables.errors import UserError

CONFIG = CohortConfig()
EARLY, DELAYED = "acq-early_ce-gadobutrol_T1w", "acq-delayed_ce-gadobutrol_T1w"


def _file(root: Path, number: int, end: str) -> Path:
    return root / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_{end}.nii.gz"


def _smooth(root: Path, write_image) -> np.ndarray:
    """Gives the first subject smooth images, 14 x 18 x 12, and returns its mask."""
    mask = nib.load(_file(root, 1, "label-brain_mask")).get_fdata() > 0
    x, y, z = np.meshgrid(*[np.arange(side) for side in mask.shape], indexing="ij")
    ramp = 500 + 20 * x + 10 * y + 5 * z
    write_image(_file(root, 1, EARLY), np.where(mask, ramp, 0).astype(np.float32))
    write_image(_file(root, 1, DELAYED), np.where(mask, ramp + 3 * (x - 7) ** 2, 0).astype(np.float32))
    return mask


def _pierce(path: Path, holes: np.ndarray, value: float = np.nan) -> None:
    image = nib.load(path)
    data = image.get_fdata(dtype=np.float32).copy()
    data[holes] = value
    nib.save(nib.Nifti1Image(data, image.affine), path)


def _identity_db(root: Path) -> float:
    decibels: float = check(root, CONFIG).rows[0]["identity_psnr_db"]
    return decibels


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("role", "end"), [("source", EARLY), ("target", DELAYED)])
def test_holes_in_the_brain_hardly_move_scores(
    tmp_path: Path, make_bids, write_image, role: str, end: str, value: float
) -> None:
    root = make_bids(tmp_path / "bids")
    mask = _smooth(root, write_image)
    whole, before = _identity_db(root), prepare(find_cohort(root, CONFIG), CONFIG, tmp_path / "cache")
    holes = np.zeros(mask.shape, dtype=bool)
    inside = np.flatnonzero(mask)
    holes.reshape(-1)[np.random.default_rng(0).choice(inside, 30, replace=False)] = True  # 1 % of 3,024 voxels
    _pierce(_file(root, 1, end), holes, value)
    assert _identity_db(root) == pytest.approx(whole, abs=0.3)
    note = f"{role}: 30 NaN or infinite voxels filled with their neighbours' mean (inside the mask)"
    report = check(root, CONFIG)
    assert report.ok
    assert [row["notes"] for row in report.rows] == [[note], [], [], []]
    after = prepare(find_cohort(root, CONFIG), CONFIG, tmp_path / "cache")
    assert np.isfinite(getattr(after, role)).all()
    assert (before.provenance["num_mended"], after.provenance["num_mended"]) == (0, 1)


def test_a_hole_by_hand(tmp_path: Path, write_image) -> None:
    """Five neighbours of 10 and one of 17; the hole itself has the nearest value first, one of them."""
    from trainables.cohort.nifti import mend, read_volume

    data = np.full((5, 5, 5), 10, dtype=np.float32)
    data[2, 2, 2], data[1, 2, 2], data[0, 0, 0], data[4, 4, 4] = np.nan, 17, np.nan, -3
    volume = read_volume(write_image(tmp_path / "image.nii", data))
    assert min(abs(volume.data[2, 2, 2] - mean) for mean in (11, 12)) < 1e-4
    mask = np.zeros(data.shape, dtype=bool)
    mask[1:4, 1:4, 1:4] = True
    mended = mend(volume, mask)
    assert mended.data[2, 2, 2] == volume.data[2, 2, 2]
    mask[1, 2, 2] = False  # what is not of the brain fills no hole in it
    assert mend(volume, mask).data[2, 2, 2] == pytest.approx(10)
    assert mended.data[0, 0, 0] == -3
    assert mended.notes == (
        "1 NaN or infinite voxels filled with their neighbours' mean (inside the mask)",
        "1 NaN or infinite voxels filled with -3 (outside the mask)",
    )


@pytest.mark.parametrize("end", [EARLY, DELAYED, "label-brain_mask", "label-lesion_mask"])
def test_nan_as_background(tmp_path: Path, make_bids, end: str) -> None:
    """All that is outside the mask is NaN in one file: the same arrays inside, and no complaint."""
    root = make_bids(tmp_path / "bids")
    before = prepare(find_cohort(root, CONFIG), CONFIG, tmp_path / "cache")
    outside = nib.load(_file(root, 1, end if "mask" in end else "label-brain_mask")).get_fdata() == 0
    _pierce(_file(root, 1, end), outside)
    assert check(root, CONFIG).ok
    after = prepare(find_cohort(root, CONFIG), CONFIG, tmp_path / "cache")
    for name in ("source", "target"):
        np.testing.assert_array_equal(getattr(after, name)[after.mask], getattr(before, name)[before.mask])
        assert np.isfinite(getattr(after, name)).all()
    np.testing.assert_array_equal(after.mask, before.mask)
    np.testing.assert_array_equal(after.lesion, before.lesion)


def test_nan_as_background_on_another_grid(tmp_path: Path, make_bids, write_image) -> None:
    root, config = make_bids(tmp_path / "bids"), CohortConfig(resample=True)
    path = _file(root, 1, DELAYED)
    mask = nib.load(_file(root, 1, "label-brain_mask")).get_fdata() > 0
    fine = nib.load(path).get_fdata(dtype=np.float32).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine = nib.affines.from_matvec(np.eye(3), [-0.5] * 3)
    for data in (fine, np.where(mask.repeat(2, 0).repeat(2, 1).repeat(2, 2), fine, np.nan)):
        write_image(path, data, affine)
        prepared = prepare(find_cohort(root, config), config, tmp_path / "cache")
        assert np.isfinite(prepared.target).all()
        assert prepared.provenance["num_mended"] == int(np.isnan(data).any())


def test_too_many_holes(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids")
    path, mask = _file(root, 1, DELAYED), _file(root, 1, "label-brain_mask")
    inside = nib.load(mask).get_fdata() > 0
    _pierce(path, inside & (np.indices(inside.shape)[0] < 7))
    with pytest.raises(UserError, match=r"% of the voxels are NaN or infinite inside the mask \(up to 1% would"):
        prepare(find_cohort(root, CONFIG), CONFIG, tmp_path / "cache")
    early = _file(root, 1, EARLY)
    _pierce(early, ~inside)
    with pytest.raises(UserError, match="or give a mask, outside of which they are background"):
        prepare_volume(early, CONFIG)
    assert prepare_volume(early, CONFIG, mask).notes[0].endswith("(outside the mask)")
    _pierce(early, inside)
    with pytest.raises(UserError, match="every voxel is NaN or infinite"):
        prepare_volume(early, CONFIG, mask)


def test_a_mask_of_holes_alone(tmp_path: Path, write_image) -> None:
    data = np.random.default_rng(0).normal(size=(10, 10, 10)).astype(np.float32)
    region = np.zeros(data.shape, dtype=np.uint8)
    region[4:6, 4:6, 4:6] = 1
    data[region > 0] = np.nan
    path, mask = write_image(tmp_path / "image.nii", data), write_image(tmp_path / "mask.nii", region)
    with pytest.raises(UserError, match="every voxel inside the mask is NaN"):
        prepare_volume(path, CONFIG, mask)


def test_a_study_begun_on_other_numbers_is_told_apart(tmp_path: Path, make_bids, write_image) -> None:
    """The digest of a cohort with holes is not what earlier versions, which filled them otherwise, gave it."""
    import hashlib
    import json

    root = make_bids(tmp_path / "bids")
    _smooth(root, write_image)
    for holes in (0, 5):
        _pierce(_file(root, 1, DELAYED), np.arange(14 * 18 * 12).reshape(14, 18, 12) < holes)
        prepared = prepare(find_cohort(root, CONFIG), CONFIG, tmp_path / f"cache-{holes}")
        (folder,) = (tmp_path / f"cache-{holes}").iterdir()
        earlier = json.dumps([folder.name, [subject.split for subject in prepared.subjects]])
        same = prepared.provenance["digest"] == hashlib.sha256(earlier.encode()).hexdigest()[:24]
        assert same == (holes == 0)
