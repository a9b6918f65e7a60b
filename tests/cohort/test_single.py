"""One new volume, prepared as the cohort was, and the synthesised one in its place."""

import resource
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from trainables.cohort import CohortConfig, find_cohort, prepare, prepare_volume, write_volume
from trainables.errors import UserError

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.1, 0.2, -0.1) @ np.array([[0, 0, 2.0], [-1.5, 0, 0], [0, 3, 0]]), [10, -20, 30]
)


def test_the_same_numbers_as_in_the_cohort(tmp_path: Path, make_bids) -> None:
    """Same mask, same percentiles: inside the smaller window the slices are the cohort's."""
    root = make_bids(tmp_path / "bids", num_subjects=3)
    config = CohortConfig()
    prepared = prepare(find_cohort(root, config), config, tmp_path / "cache")
    for number, subject in enumerate(prepared.subjects, 1):
        anat = root / f"sub-0{number}" / "anat"
        volume = prepare_volume(
            anat / f"sub-0{number}_acq-early_ce-gadobutrol_T1w.nii.gz",
            config,
            anat / f"sub-0{number}_label-brain_mask.nii.gz",
        )
        rows = slice(subject.start, subject.stop)
        np.testing.assert_array_equal(volume.source[volume.mask], prepared.source[rows][prepared.mask[rows]])
        assert (volume.geometry.low, volume.geometry.high) == (subject.geometry.low, subject.geometry.high)


@pytest.mark.parametrize("axis", ["sagittal", "coronal", "axial"])
@pytest.mark.parametrize("name", ["out.nii.gz", "out.nii", "Out put.NII.GZ"])
def test_there_and_back(tmp_path: Path, write_image, axis: str, name: str) -> None:
    """Stored oblique, in another order of axes: what is written lies exactly where the source did."""
    rng = np.random.default_rng(0)
    data = np.zeros((20, 24, 16), dtype=np.int16)
    data[4:15, 5:20, 3:12] = rng.integers(100, 900, (11, 15, 9))
    path = write_image(tmp_path / "source.nii.gz", data, OBLIQUE)
    mask = write_image(tmp_path / "mask.nii.gz", (data > 0).astype(np.uint8), OBLIQUE)
    volume = prepare_volume(path, CohortConfig(axis=axis), mask)
    assert np.percentile(volume.source[volume.mask], (0.5, 99.5)) == pytest.approx((0, 1), abs=1e-6)
    write_volume(volume.source, volume, tmp_path / name)
    written = nib.load(tmp_path / name)
    assert written.shape == data.shape
    np.testing.assert_allclose(written.affine, OBLIQUE, atol=1e-6)
    assert written.get_data_dtype() == np.float32
    np.testing.assert_allclose(written.get_fdata(), data, atol=1e-2)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(["source.nii.gz", "mask.nii.gz", name])


def test_places_that_cannot_be_written(tmp_path: Path, write_image) -> None:
    data = np.zeros((10, 10, 10), dtype=np.int16)
    data[2:8, 2:8, 2:8] = np.arange(216).reshape(6, 6, 6)
    volume = prepare_volume(write_image(tmp_path / "source.nii", data), CohortConfig())
    with pytest.raises(UserError, match=r"give a name that ends in \.nii\.gz"):
        write_volume(volume.source, volume, tmp_path / "out.mgz")
    with pytest.raises(UserError, match="cannot be written"):
        write_volume(volume.source, volume, tmp_path / "source.nii" / "out.nii.gz")
    with pytest.raises(UserError, match="no such file"):
        prepare_volume(tmp_path / "absent.nii.gz", CohortConfig())


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, write_image) -> None:
    """Writing ends in the middle, at the largest file size that the process may write."""
    data = np.random.default_rng(0).integers(0, 900, (20, 20, 20)).astype(np.int16)
    volume = prepare_volume(write_image(tmp_path / "source.nii", data), CohortConfig())
    (tmp_path / "out.nii").write_bytes(b"mine")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))
        with pytest.raises(UserError, match="cannot be written"):
            write_volume(volume.source, volume, tmp_path / "out.nii")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "out.nii").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.nii", "source.nii"]
