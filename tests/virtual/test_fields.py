"""Smooth random fields: their moments, and that they don't depend on the grid."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainables.cohort.virtual.fields import Grid, spline_field, wave_noise


@given(
    shape=st.tuples(*[st.integers(1, 30)] * 3),
    spacing=st.floats(0.5, 8),
    center=st.tuples(*[st.floats(-50, 50)] * 3),
)
def test_grid_finds_its_own_voxels(
    shape: tuple[int, int, int], spacing: float, center: tuple[float, float, float]
) -> None:
    grid = Grid(shape, spacing, center)
    last = np.asarray(shape) - 1
    corners = np.stack([axis[[0, -1]] for axis in grid.axes()], axis=1)
    np.testing.assert_allclose(grid.index(corners), [[0, 0, 0], last], atol=1e-3)
    np.testing.assert_allclose((corners[0] + corners[1]) / 2, center, atol=1e-3)
    np.testing.assert_allclose(grid.affine @ [*last, 1], [*corners[1], 1], atol=1e-3)


def test_spline_field_is_standard_and_the_same_at_any_resolution() -> None:
    coarse, fine = Grid((13, 13, 13), 8.0), Grid((25, 25, 25), 4.0)
    fields = [spline_field(grid, 16, np.random.default_rng(3), 40) for grid in (coarse, fine)]
    np.testing.assert_allclose(fields[0], fields[1][:, ::2, ::2, ::2], atol=1e-5)
    assert abs(fields[1].mean()) < 0.05
    assert abs(fields[1].std() - 1) < 0.05


def test_spline_field_is_smooth() -> None:
    field = spline_field(Grid((41, 3, 3), 1.0), 40, np.random.default_rng(0), 30)
    # A cubic B-spline's slope has standard deviation sqrt((2/3) / (151/315)) = 1.18 a node spacing.
    slope = np.diff(field, axis=1).std() * 40
    assert 0.9 < slope < 1.5


def test_wave_noise_is_standard_and_correlated_as_far_as_its_scale() -> None:
    rng = np.random.default_rng(1)
    points = np.array([[0, 0, 0], [5, 0, 0], [50, 0, 0]], np.float32)
    draws = np.stack([wave_noise(points, 5.0, rng) for _ in range(4000)])
    assert np.abs(draws.mean(axis=0)).max() < 0.06
    correlation = np.cov(draws.T)
    expected = np.exp(-(np.array([[0, 5, 50], [5, 0, 45], [50, 45, 0]]) ** 2) / (2 * 5.0**2))
    np.testing.assert_allclose(correlation, expected, atol=0.08)
