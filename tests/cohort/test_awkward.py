"""Every file of the awkward collection, alone and paired with its reference, accepted or refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainables.cohort import CohortConfig, Subject
from trainables.cohort.nifti import load_volume
from trainables.cohort.pairs import align, find_mask
from trainables.errors import UserError

SAME = [
    "big_endian_int16.nii",
    "orient_LPI.nii.gz",
    "orient_ASR.nii.gz",
    "fourD_singleton.nii.gz",
    "affine_jitter_1e-4.nii.gz",
]
REFUSED = {
    "nan_inf.nii.gz": "NaN or infinite",
    "constant.nii.gz": "every voxel is 7",
    "fourD_3vol.nii.gz": "holds 3 volumes",
    "no_sform_no_qform.nii.gz": "no orientation",
    "truncated_gz.nii.gz": "truncated",
    "corrupt_gz_middle.nii.gz": "damaged gzip stream",
}


@pytest.fixture(scope="session")
def awkward(study_data: Path) -> Path:
    return study_data / "awkward"


@pytest.mark.parametrize("name", SAME)
def test_the_same_image_in_another_dress(awkward: Path, name: str) -> None:
    reference = load_volume(awkward / "reference_int16.nii.gz")
    volume = load_volume(awkward / name)
    np.testing.assert_array_equal(align(volume, reference.grid, CohortConfig()), reference.data)


def test_scaled_values(awkward: Path) -> None:
    reference = load_volume(awkward / "reference_int16.nii.gz")
    scaled = load_volume(awkward / "int16_slope_inter.nii.gz")
    assert np.abs(scaled.data - reference.data).max() <= 0.5


@pytest.mark.parametrize(("name", "message"), REFUSED.items())
def test_refused(awkward: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        load_volume(awkward / name)
    assert name in str(raised.value)


def test_a_shifted_pair_is_refused_or_resampled(awkward: Path) -> None:
    reference = load_volume(awkward / "reference_int16.nii.gz")
    shifted = load_volume(awkward / "shifted_affine_same_shape.nii.gz")
    with pytest.raises(UserError, match=r"4\.47 mm away") as raised:
        align(shifted, reference.grid, CohortConfig())
    assert "shifted_affine_same_shape" in str(raised.value)
    assert "reference_int16" in str(raised.value)
    # 2 and -4 mm are 1 and -2 voxels: what lies at voxel (x, y) belongs at (x + 1, y - 2).
    resampled = align(shifted, reference.grid, CohortConfig(resample=True))
    np.testing.assert_allclose(resampled[1:, :-2], shifted.data[:-1, 2:], atol=1e-2)
    assert np.isnan(resampled[0]).all()
    assert np.isnan(resampled[:, -2:]).all()


def test_one_voxel_short_is_refused(awkward: Path) -> None:
    reference = load_volume(awkward / "reference_int16.nii.gz")
    with pytest.raises(UserError, match="its shape is 50x60x50, not 49x60x50"):
        align(reference, replace(reference.grid, stored_shape=(49, 60, 50)), CohortConfig())


def test_foreground_stands_in_for_a_mask(study_data: Path) -> None:
    """On skull-stripped scans the foreground is the brain mask that comes with them (Dice above 0.99)."""
    folder = study_data / "real" / "sub-ms19" / "anat"
    source, mask = folder / "sub-ms19_T1w.nii.gz", folder / "sub-ms19_label-brain_mask.nii.gz"
    volume = load_volume(source)
    given = find_mask(Subject(id="a", source=source, target=source, mask=mask), volume.grid, CohortConfig())
    found = find_mask(Subject(id="a", source=source, target=source), volume.grid, CohortConfig(), volume)
    assert 2 * np.count_nonzero(given & found) / (given.sum() + found.sum()) > 0.99
