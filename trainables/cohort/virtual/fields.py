"""Smooth random functions of space, given in mm so that they don't depend on the resolution."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """An isotropic grid of voxels, its axes right, anterior, superior."""

    shape: tuple[int, int, int]
    """Voxels along each axis."""
    spacing: float
    """mm between voxels."""
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of the whole grid, in mm."""

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel index to mm, (4, 4)."""
        affine = np.diag([self.spacing] * 3 + [1.0])
        affine[:3, 3] = np.asarray(self.center) - self.spacing * (np.asarray(self.shape) - 1) / 2
        return affine

    def axes(self) -> list[NDArray[np.float32]]:
        """Millimetre positions along each axis."""
        start = self.affine[:3, 3]
        return [(start[axis] + self.spacing * np.arange(n)).astype(np.float32) for axis, n in enumerate(self.shape)]

    def index(self, points: NDArray) -> NDArray:
        """Fractional voxel indices of positions (..., 3) in mm."""
        return ((points - self.affine[:3, 3]) / self.spacing).astype(np.float32)


_BASIS_ENERGY = 151 / 315  # integral of the squared cubic B-spline: what it leaves of a node's variance, per axis


def _spline_basis(positions: NDArray, first: float, spacing: float, num_nodes: int) -> NDArray[np.float32]:
    """Values of the uniform cubic B-splines, (len(positions), num_nodes)."""
    distance = np.abs((positions[:, None] - first) / spacing - np.arange(num_nodes))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def spline_field(grid: Grid, node_spacing: float, rng: np.random.Generator, channels: int = 1) -> NDArray[np.float32]:
    """A cubic B-spline field of random nodes.

    Args:
        grid: where to evaluate it.
        node_spacing: mm between nodes: the size of the field's hills.
        rng: draws the nodes.
        channels: number of independent fields.

    Returns:
        (channels, *grid.shape) of mean 0 and standard deviation 1 over draws, averaged over space.
    """
    axes = grid.axes()
    extent = [grid.spacing * (n - 1) for n in grid.shape]
    num_nodes = [int(np.ceil(length / node_spacing)) + 3 for length in extent]
    field = rng.standard_normal((channels, *num_nodes)).astype(np.float32)
    for axis in range(3):
        first = axes[axis][0] - node_spacing
        basis = _spline_basis(axes[axis].astype(float), first, node_spacing, num_nodes[axis])
        field = np.moveaxis(np.tensordot(field, basis, axes=(axis + 1, 1)), -1, axis + 1)
    return np.ascontiguousarray(field) / np.float32(_BASIS_ENERGY**1.5)


def wave_noise(points: NDArray, scale: float, rng: np.random.Generator, num_waves: int = 24) -> NDArray[np.float32]:
    """Smooth Gaussian noise at scattered points: random Fourier features (Rahimi & Recht, NeurIPS 2007).

    Args:
        points: (N, 3) mm.
        scale: mm, the standard deviation of its Gaussian correlation.
        rng: draws the waves.
        num_waves: with more of them the noise is closer to Gaussian.

    Returns:
        (N,) of mean 0 and standard deviation 1 over draws.
    """
    frequencies = rng.standard_normal((3, num_waves)) / scale
    phases = rng.uniform(0, 2 * np.pi, num_waves)
    angles = points @ frequencies.astype(np.float32) + phases.astype(np.float32)
    return np.sqrt(2 / num_waves, dtype=np.float32) * np.cos(angles).sum(axis=1)
