"""Vessels, sinuses and choroid plexus: tubes along curves in the template, drawn anew for each subject."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from trainables.cohort.virtual.anatomy import Template, sample
from trainables.cohort.virtual.fields import Grid

# Control points in MNI mm (x right of the midline; paired vessels are mirrored) and radii in mm at both ends.
_Path = list[tuple[float, float, float]]
_SINGLE: list[tuple[_Path, tuple[float, float]]] = [
    ([(0, -12, -48), (0, -18, -36), (0, -20, -22)], (1.7, 1.6)),  # basilar artery
    ([(0, -34, 8), (0, -44, 8), (0, -66, -2), (0, -97, -12)], (1.5, 2.3)),  # great vein and straight sinus
]
_PAIRED: list[tuple[_Path, tuple[float, float]]] = [
    ([(14, -2, -34), (15, 4, -24), (12, 6, -16), (14, 6, -12)], (2.2, 1.8)),  # internal carotid
    ([(14, 6, -12), (24, 6, -16), (36, 4, -14), (42, 4, -6)], (1.4, 1.2)),  # middle cerebral, first part
    ([(40, 6, -10), (40, -4, 4), (42, -18, 14), (48, -34, 20)], (1.1, 0.7)),  # its branches on the insula
    ([(40, 6, -10), (38, 16, 0), (42, 20, 10), (48, 16, 22)], (1.0, 0.7)),
    ([(14, 6, -12), (5, 14, -14), (3, 34, -8), (3, 42, 12), (3, 18, 32), (3, -30, 40)], (1.2, 0.7)),
    ([(0, -20, -22), (10, -20, -20), (22, -30, -12), (18, -48, -4), (12, -76, 2)], (1.2, 0.7)),  # posterior
    ([(6, 4, 14), (3, -12, 16), (1, -34, 8)], (1.0, 1.4)),  # internal cerebral vein
]
_CHOROID: list[tuple[_Path, tuple[float, float]]] = [
    ([(5, 2, 12), (8, -10, 18), (14, -24, 19), (22, -38, 12)], (1.2, 2.2)),
    # The glomus, then the temporal horn.
    ([(22, -38, 12), (25, -40, 6), (28, -34, -4), (30, -22, -12)], (3.0, 1.2)),
]


@dataclass(frozen=True, kw_only=True)
class Tube:
    """A chain of balls: points (N, 3) in mm and radii (N,) in mm."""

    points: NDArray[np.float64]
    radii: NDArray[np.float64]


def draw_vessels(template: Template, rng: np.random.Generator) -> list[Tube]:
    """Arteries, deep veins, sinuses and 28 cortical veins, in template mm."""
    tubes = _from_paths(_SINGLE, [1], rng) + _from_paths(_PAIRED, [1, -1], rng)
    tubes.append(_sagittal_sinus(template, rng))
    for side in (1, -1):
        tubes.append(_transverse_sinus(template, side, rng))
        tubes.extend(_cortical_vein(template, side, rng) for _ in range(14))
    return tubes


def draw_choroid_plexus(rng: np.random.Generator) -> list[Tube]:
    """The plexus of both lateral ventricles, in template mm."""
    return _from_paths(_CHOROID, [1, -1], rng)


def rasterize(tubes: list[Tube], grid: Grid) -> NDArray[np.float32]:
    """Share of each voxel that the tubes fill, float32 (X, Y, Z)."""
    spacing = grid.spacing
    filled = np.zeros(grid.shape, np.float32)
    points = np.concatenate([tube.points for tube in tubes])
    radii = np.concatenate([tube.radii for tube in tubes])
    reach = np.ceil(radii / spacing + 0.5).astype(int)
    for steps in np.unique(reach):
        chosen = reach == steps
        at, radius = points[chosen, None], radii[chosen, None]
        span = np.arange(-steps, steps + 1)
        offsets = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)
        voxels = np.rint(grid.index(at)).astype(int) + offsets
        distance = np.linalg.norm(voxels * spacing + grid.affine[:3, 3] - at, axis=-1)
        # A tube thinner than a voxel never fills it: its share is its cross-section over the voxel's.
        most = np.minimum(1, np.pi * radius**2 / spacing**2)
        share = most * np.clip((np.maximum(radius, spacing / 2) - distance) / spacing + 0.5, 0, 1)
        kept = ((voxels >= 0) & (voxels < grid.shape)).all(axis=-1)
        flat = np.ravel_multi_index(tuple(voxels[kept].T), grid.shape)
        np.maximum.at(filled.reshape(-1), flat, share[kept].astype(np.float32))
    return filled


def _from_paths(
    paths: list[tuple[_Path, tuple[float, float]]], sides: list[int], rng: np.random.Generator
) -> list[Tube]:
    return [
        _tube(np.asarray(path, float) * (side, 1, 1) + rng.normal(0, 1.5, (len(path), 3)), radii, rng)
        for side in sides
        for path, radii in paths
    ]


def _tube(controls: NDArray, radii: tuple[float, float], rng: np.random.Generator) -> Tube:
    """A smooth curve through control points, about a point every 0.7 mm."""
    steps = np.linalg.norm(np.diff(controls, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(steps)])
    curve = make_interp_spline(along, controls, k=min(3, len(controls) - 1))
    positions = np.linspace(0, along[-1], max(int(along[-1] / 0.7), 2))
    radius = np.linspace(*radii, len(positions)) * rng.lognormal(0, 0.12)
    return Tube(points=curve(positions), radii=radius)


def _surface(template: Template, origin: tuple[float, float, float], directions: NDArray, below: float) -> NDArray:
    """(M, 3) where rays from `origin` come within `below` mm of the brain's surface for the last time."""
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    distances = np.arange(10.0, 125.0)
    rays = np.asarray(origin) + distances[:, None, None] * directions
    depth = sample(template.depth, template.grid, rays.reshape(-1, 3)).reshape(rays.shape[:2])
    inside = depth > below
    last = np.where(inside.any(axis=0), len(distances) - 1 - inside[::-1].argmax(axis=0), 0)
    return np.asarray(origin) + distances[last, None] * directions


def _sagittal_sinus(template: Template, rng: np.random.Generator) -> Tube:
    angles = np.deg2rad(np.linspace(40, 190, 12))  # from the forehead over the vertex to the confluence
    directions = np.stack([np.zeros_like(angles), np.cos(angles), np.sin(angles)], axis=1)
    return _tube(_surface(template, (0, -20, 5), directions, -0.5), (1.2, 3.4), rng)


def _transverse_sinus(template: Template, side: int, rng: np.random.Generator) -> Tube:
    angles = np.deg2rad(np.linspace(-90, -20, 7))
    drop = np.linspace(0, -0.15, 7)
    directions = np.stack([side * np.cos(angles), np.sin(angles), drop], axis=1)
    return _tube(_surface(template, (0, -45, -14), directions, -0.5), (2.8, 2.0), rng)


def _cortical_vein(template: Template, side: int, rng: np.random.Generator) -> Tube:
    """From the sagittal sinus down the convexity, wandering, 1-4 mm below the surface."""
    azimuth = rng.uniform(-70, 75) + np.cumsum(rng.normal(0, 4, 6))
    polar = np.linspace(3, rng.uniform(35, 85), 6)
    polar, azimuth = np.deg2rad(polar), np.deg2rad(azimuth)
    # Azimuth tilts the coronal plane that the vein descends in forwards (+) or backwards (-).
    directions = np.stack(
        [side * np.sin(polar), np.cos(polar) * np.sin(azimuth), np.cos(polar) * np.cos(azimuth)], axis=1
    )
    return _tube(_surface(template, (0, -20, 5), directions, rng.uniform(1, 4)), (1.0, 0.6), rng)
