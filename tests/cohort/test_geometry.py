"""Slices and back: nothing is lost inside the window, nothing is moved."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from trainables.cohort.geometry import Geometry, as_slices, as_volume, bounding_box, common_size
from trainables.cohort.nifti import Grid

AXES = st.sampled_from(["sagittal", "coronal", "axial"])
CODES = st.permutations(["LR", "PA", "IS"]).flatmap(lambda pairs: st.tuples(*(st.sampled_from(pair) for pair in pairs)))


def test_slices_are_upright() -> None:
    """A voxel to the right, anterior and superior: right in axial and coronal slices, up wherever there is an up."""
    volume = np.zeros((3, 4, 5))
    volume[2, 3, 4] = 1
    assert np.argwhere(as_slices(volume, "axial")).tolist() == [[4, 0, 2]]
    assert np.argwhere(as_slices(volume, "coronal")).tolist() == [[3, 0, 2]]
    assert np.argwhere(as_slices(volume, "sagittal")).tolist() == [[2, 0, 3]]


@given(axis=AXES, shape=st.tuples(*[st.integers(1, 5)] * 3))
def test_slices_have_a_way_back(axis: str, shape: tuple[int, int, int]) -> None:
    volume = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(as_volume(as_slices(volume, axis), axis), volume)


def test_boxes_and_their_common_size() -> None:
    mask = np.zeros((6, 20, 30), dtype=bool)
    mask[2, 4, 5] = mask[4, 12, 21] = True
    assert bounding_box(mask) == ((2, 5), (4, 13), (5, 22))
    # Heights 9 and 16, widths 17 and 3: at least 16 and 17, in eights 16 and 24.
    assert common_size([bounding_box(mask), ((0, 1), (0, 16), (0, 3))]) == (16, 24)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Geometry, np.ndarray]:
    """A geometry around a mask, and a stored volume in any orientation."""
    codes = draw(CODES)
    stored_shape = tuple(draw(st.integers(2, 12)) for _ in range(3))
    ornt = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    canonical_shape = tuple(np.array(stored_shape)[ornt[:, 0].astype(int)])
    affine = np.diag([1.5, 2, 3, 1]) @ inv_ornt_aff(ornt, canonical_shape)
    grid = Grid(path=Path("a"), stored_shape=stored_shape, stored_affine=affine)
    assert grid.shape == canonical_shape
    axis = draw(AXES)
    mask = np.zeros(grid.shape, dtype=bool)
    for _ in range(2):
        mask[tuple(draw(st.integers(0, side - 1)) for side in grid.shape)] = True
    box = bounding_box(as_slices(mask, axis))
    geometry = Geometry.around(box, common_size([box]), grid, axis, -7.0, 12.0)
    stored = np.random.default_rng(draw(st.integers(0, 99))).normal(5, 10, stored_shape).astype(np.float32)
    return geometry, stored


@given(case=cases())
def test_the_way_back_restores_what_the_window_saw(case: tuple[Geometry, np.ndarray]) -> None:
    geometry, stored = case
    canonical = apply_orientation(stored, io_orientation(np.array(geometry.stored_affine)))
    slices = geometry.slices(canonical)
    assert slices.dtype == np.float32
    assert slices.shape == geometry.size
    assert slices.shape[1] % 8 == slices.shape[2] % 8 == 0
    restored = geometry.restore(slices)
    assert restored.shape == stored.shape
    seen = geometry.restore(np.ones(geometry.size, dtype=np.float32)) != 0
    np.testing.assert_allclose(restored[seen], stored[seen], atol=1e-4)
    assert (restored[~seen] == 0).all()
    # Cutting the restored volume gives the slices again.
    again = geometry.slices(apply_orientation(restored, io_orientation(np.array(geometry.stored_affine))))
    np.testing.assert_allclose(again, slices, atol=1e-5)


@given(case=cases())
def test_a_geometry_survives_json(case: tuple[Geometry, np.ndarray]) -> None:
    geometry, _ = case
    assert Geometry.from_json(json.loads(json.dumps(asdict(geometry)))) == geometry


@given(case=cases())
def test_the_window_stays_inside_where_it_can(case: tuple[Geometry, np.ndarray]) -> None:
    geometry, _ = case
    lengths = as_slices(np.empty(geometry.shape), geometry.axis).shape
    for start, side, length in zip(geometry.start[1:], geometry.size[1:], lengths[1:], strict=True):
        assert start >= 0
        assert start + side <= length or start == 0


def test_normalised_values_by_hand() -> None:
    grid = Grid(path=Path("a"), stored_shape=(2, 2, 2), stored_affine=np.eye(4))
    geometry = Geometry.around(((0, 2), (0, 2), (0, 2)), (8, 8), grid, "axial", 100.0, 300.0)
    slices = geometry.slices(np.array([[[50, 100], [200, 300]], [[400, 150], [250, 350]]], dtype=np.float32))
    # Slice z = 0, rows from anterior (y = 1) down, columns from the left (x = 0).
    np.testing.assert_allclose(slices[0, :2, :2], [[0.5, 0.75], [-0.25, 1.5]])
    np.testing.assert_allclose(slices[1, :2, :2], [[1.0, 1.25], [0.0, 0.25]])
    # Beyond the image the intensity is 0, which is -0.5 on this scale.
    np.testing.assert_allclose(slices[:, 2:], -0.5)


@pytest.mark.parametrize("axis", ["sagittal", "coronal", "axial"])
def test_a_window_larger_than_the_image_is_padded(axis: str) -> None:
    grid = Grid(path=Path("a"), stored_shape=(3, 3, 3), stored_affine=np.eye(4))
    geometry = Geometry.around(((0, 3), (0, 3), (0, 3)), (8, 8), grid, axis, 0.0, 1.0)
    window = geometry.cut(np.ones((3, 3, 3), dtype=bool))
    assert window.dtype == bool
    assert window.sum() == 27
    assert window[:, :3, :3].all()
