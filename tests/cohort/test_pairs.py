"""Grids, masks and intensity ranges of a pair."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.cohort import CohortConfig, Subject
from trainables.cohort.nifti import Grid, Volume, load_volume
from trainables.cohort.pairs import (
    align,
    align_target,
    find_lesion,
    find_mask,
    find_range,
    foreground,
    grid_difference,
    grid_distance_mm,
)
from trainables.errors import UserError


def _grid(shape: tuple[int, int, int] = (10, 10, 10), affine: np.ndarray | None = None, name: str = "a") -> Grid:
    return Grid(
        path=Path(name), stored_shape=shape, stored_affine=np.diag([2.0, 2, 2, 1]) if affine is None else affine
    )


def _volume(data: np.ndarray, affine: np.ndarray | None = None, name: str = "b") -> Volume:
    return Volume(grid=_grid(data.shape, affine, name), data=data)


@given(shift=st.tuples(*[st.floats(-50, 50)] * 3))
def test_distance_of_shifted_grids_is_the_shift(shift: tuple[float, float, float]) -> None:
    moved = np.diag([2.0, 2, 2, 1])
    moved[:3, 3] = shift
    assert grid_distance_mm(_grid(), _grid(affine=moved)) == pytest.approx(np.linalg.norm(shift), abs=1e-9)


def test_rotation_counts_where_it_is_largest() -> None:
    """A tilt of 0.01 about x moves the far corner, 18 mm off in y and z, by 0.01 * 18 * sqrt(2) mm."""
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(0.01), -np.sin(0.01)], [np.sin(0.01), np.cos(0.01)]]
    assert grid_distance_mm(_grid(), _grid(affine=tilt @ np.diag([2.0, 2, 2, 1]))) == pytest.approx(
        0.01 * 18 * np.sqrt(2), rel=1e-3
    )


@pytest.mark.parametrize(("shift_mm", "same"), [(1e-4, True), (0.09, True), (0.11, False), (2.0, False)])
def test_tolerance_is_a_twentieth_of_a_voxel(shift_mm: float, same: bool) -> None:
    moved = np.diag([2.0, 2, 2, 1])
    moved[0, 3] = shift_mm
    assert (grid_difference(_grid(affine=moved), _grid()) is None) == same


def test_other_voxel_sizes_of_one_shape_are_refused() -> None:
    with pytest.raises(UserError, match="b: is not on the grid of a: its voxels lie up to"):
        align(_volume(np.ones((10, 10, 10)), np.diag([1.0, 1, 1, 1])), _grid(), CohortConfig())


def test_resampling_brings_a_finer_ramp_to_the_grid() -> None:
    """A linear ramp in mm is the same ramp on any grid."""
    fine = np.diag([1.0, 1, 1, 1])
    x, y, z = np.meshgrid(*[np.arange(24.0)] * 3, indexing="ij")
    data = align(_volume((x + 2 * y - z).astype(np.float32), fine), _grid(), CohortConfig(resample=True))
    i, j, k = np.meshgrid(*[np.arange(10.0)] * 3, indexing="ij")
    np.testing.assert_allclose(data, 2 * (i + 2 * j - k), atol=1e-3)


def test_a_target_must_cover_the_mask() -> None:
    moved = np.diag([2.0, 2, 2, 1])
    moved[0, 3] = 10.0
    target = _volume(np.random.default_rng(0).normal(size=(10, 10, 10)).astype(np.float32), moved)
    mask = np.zeros((10, 10, 10), dtype=bool)
    mask[2:8] = True
    with pytest.raises(UserError, match="b: covers only 50% of the mask of a"):
        align_target(target, _grid(), mask, CohortConfig(resample=True))
    mask[:5] = False
    data = align_target(target, _grid(), mask, CohortConfig(resample=True))
    assert np.isfinite(data).all()
    np.testing.assert_allclose(data[5:], target.data[:5], atol=1e-3)


def test_a_target_without_contrast_in_the_mask_is_refused() -> None:
    data = np.zeros((10, 10, 10), dtype=np.float32)
    data[0] = 5
    mask = np.zeros((10, 10, 10), dtype=bool)
    mask[3:6] = True
    with pytest.raises(UserError, match="every voxel inside the mask is 0"):
        align_target(_volume(data), _grid(), mask, CohortConfig())


def test_range_is_the_percentiles_inside_the_mask() -> None:
    """Inside: 0..100, so that percentiles are the values themselves. Outside: what must not count."""
    data = np.full((10, 10, 10), 1e6, dtype=np.float32)
    mask = np.zeros(data.shape, dtype=bool)
    mask.reshape(-1)[:101] = True
    data.reshape(-1)[:101] = np.random.default_rng(0).permutation(101)
    assert find_range(_volume(data), mask, CohortConfig(percentiles=(2, 97))) == (2.0, 97.0)
    data.reshape(-1)[:101] = 3
    with pytest.raises(UserError, match="b: nearly every voxel inside the mask is 3"):
        find_range(_volume(data), mask, CohortConfig())


def test_masks_of_a_subject(tmp_path: Path, write_image) -> None:
    mask, empty, small = np.zeros((10, 10, 10)), np.zeros((10, 10, 10), dtype=np.uint8), np.ones((9, 10, 10))
    mask[2:5] = 0.9999999
    files = {
        name: write_image(tmp_path / f"{name}.nii.gz", data)
        for name, data in {"mask": mask.astype(np.float32), "empty": empty, "small": small}.items()
    }

    def subject(**roles: Path) -> Subject:
        return Subject(id="sub-1", source=Path("a"), target=Path("b"), **roles)

    found = find_mask(subject(mask=files["mask"]), _grid(), CohortConfig())
    np.testing.assert_array_equal(found, mask > 0)
    with pytest.raises(UserError, match=r"empty\.nii\.gz: the mask is empty"):
        find_mask(subject(mask=files["empty"]), _grid(), CohortConfig())
    with pytest.raises(UserError, match="its shape is 9x10x10, not 10x10x10"):
        find_mask(subject(mask=files["small"]), _grid(), CohortConfig())
    assert find_lesion(subject(), _grid(), CohortConfig()) is None
    lesion = find_lesion(subject(lesion=files["empty"]), _grid(), CohortConfig())
    assert lesion is not None
    assert not lesion.any()


@pytest.mark.parametrize("background", [0.0, -1000.0])
@pytest.mark.parametrize("noise", [0.0, 5.0])
def test_foreground_is_the_head_without_specks_and_holes(background: float, noise: float) -> None:
    axes = np.meshgrid(*[np.linspace(-1, 1, 40)] * 3, indexing="ij")
    head = sum(axis**2 for axis in axes) < 0.7**2
    rng = np.random.default_rng(0)
    data = background + rng.normal(0, 1, head.shape) * noise
    data[head] = background + rng.normal(500, 50, head.sum())
    data[18:21, 18:21, 18:21] = background  # a hole inside
    data[1, 1, 1] = background + 500  # a speck outside
    found = foreground(_volume(data.astype(np.float32)))
    assert 2 * np.count_nonzero(found & head) / (found.sum() + head.sum()) > 0.99
    assert found[19, 19, 19]
    assert not found[1, 1, 1]


def test_an_image_without_a_head(tmp_path: Path, write_image) -> None:
    data = np.zeros((10, 10, 10), dtype=np.int16)
    data[4, 4, 4] = 1
    with pytest.raises(UserError, match="no head stands out"):
        foreground(load_volume(write_image(tmp_path / "speck.nii.gz", data)))
