"""What the training volumes looked like, in a few numbers, and where a new one differs from all of them."""

from collections.abc import Iterable
from typing import Self

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import io_orientation

from trainables.cohort.geometry import Geometry, as_volume, bounding_box
from trainables.frozen import FrozenModel

_NUM_VALUES = 100_000
"""Voxels of a large volume that are looked at, about: every n-th."""
Triple = tuple[float, float, float]

QUANTILES = (np.arange(20) + 0.5) / 20
"""Quantiles of the intensities inside the mask, in a histogram's place. Their mean distance between two volumes is
the Wasserstein distance of their histograms."""
VOXEL_TOLERANCE = 0.05
EXTENT_TOLERANCE = 0.15
"""Parts by which a voxel or a mask may be smaller or larger than any in training."""
INTENSITY_FLOOR = 0.1
"""How far a histogram may lie from the mean one in any case (1: from one normalising percentile to the other).

Where the oddest training volume lies farther from the mean of the others, that distance is the limit: of n training
volumes and a new one of the same kind, the new one is the oddest once in n + 1. A few training volumes lie closer
together than heads of one protocol do, and this floor makes up for it."""


class Range(FrozenModel):
    """Smallest and largest of the training volumes: along left-right, back-front and foot-head."""

    low: Triple
    high: Triple

    @classmethod
    def of(cls, triples: Iterable[Triple]) -> Self:
        rows = np.round(list(triples), 3)
        return cls(low=_triple(rows.min(axis=0)), high=_triple(rows.max(axis=0)))

    def holds(self, triple: Triple, tolerance: float) -> bool:
        """Whether a volume's lie in the range, widened by a part of its ends."""
        low, high, own = np.array(self.low), np.array(self.high), np.array(triple)
        return bool(((own >= low * (1 - tolerance)) & (own <= high * (1 + tolerance))).all())

    def __str__(self) -> str:
        sides = zip(self.low, self.high, strict=True)
        return " x ".join(f"{a:.3g}" if f"{a:.3g}" == f"{b:.3g}" else f"{a:.3g}-{b:.3g}" for a, b in sides)


class Domain(FrozenModel):
    """What was trained on: ranges and means over the training volumes, no identifiers."""

    voxel_size_mm: Range
    extent_mm: Range
    """Sides of the box around the mask."""
    intensities: tuple[float, ...]
    """Quantiles of the normalised source inside the mask, mean over the training volumes."""
    spread: float
    """Largest distance of one of them from the mean of the others; 0 if there is but one."""

    @classmethod
    def of(cls, volumes: Iterable[tuple[np.ndarray, np.ndarray, Geometry]]) -> Self:
        """The domain of training volumes: source (S, H, W), mask (S, H, W) and geometry of each."""
        sizes, extents, quantiles = [], [], []
        for source, mask, geometry in volumes:
            sizes.append(voxel_size_mm(geometry))
            extents.append(extent_mm(mask, geometry))
            quantiles.append(_quantiles(source, mask))
        rows = np.array(quantiles)
        others = (rows.sum(axis=0) - rows) / max(len(rows) - 1, 1)
        spread = float(np.abs(rows - others).mean(axis=1).max()) if len(rows) > 1 else 0.0
        return cls(
            voxel_size_mm=Range.of(sizes),
            extent_mm=Range.of(extents),
            intensities=tuple(rows.mean(axis=0).round(4).tolist()),
            spread=round(spread, 4),
        )

    def distance(self, source: np.ndarray, mask: np.ndarray) -> float:
        """How far a volume's histogram lies from the mean one."""
        return float(np.abs(_quantiles(source, mask) - self.intensities).mean())

    def departures(self, source: np.ndarray, mask: np.ndarray, geometry: Geometry) -> list[str]:
        """What of a new volume is unlike all training volumes, a sentence each."""
        found = []
        size, extent = voxel_size_mm(geometry), extent_mm(mask, geometry)
        if not self.voxel_size_mm.holds(size, VOXEL_TOLERANCE):
            found.append(f"voxel size: {_sides(size)} mm, trained on {self.voxel_size_mm} mm")
        if not self.extent_mm.holds(extent, EXTENT_TOLERANCE):
            found.append(f"shape: what is inside the mask spans {_sides(extent)} mm, trained on {self.extent_mm} mm")
        distance, limit = self.distance(source, mask), max(self.spread, INTENSITY_FLOOR)
        if distance > limit:
            found.append(
                f"intensities: the histogram inside the mask is {distance:.3g} away from those trained on "
                f"(at most {limit:.3g} is usual)"
            )
        return found


def voxel_size_mm(geometry: Geometry) -> Triple:
    """Sides of a voxel along left-right, back-front and foot-head."""
    affine = np.array(geometry.stored_affine)
    return _triple(voxel_sizes(affine)[np.argsort(io_orientation(affine)[:, 0])])


def extent_mm(mask: np.ndarray, geometry: Geometry) -> Triple:
    """Sides of the box around a mask (S, H, W), along the same."""
    box = bounding_box(as_volume(mask, geometry.axis))
    sides = np.array([stop - start for start, stop in box])
    return _triple(sides * voxel_size_mm(geometry))


def _quantiles(source: np.ndarray, mask: np.ndarray) -> np.ndarray:
    values = source[mask]
    return np.quantile(values[:: max(1, values.size // _NUM_VALUES)], QUANTILES)


def _triple(values: np.ndarray) -> Triple:
    x, y, z = values.tolist()
    return x, y, z


def _sides(triple: Triple) -> str:
    return " x ".join(f"{side:.3g}" for side in triple)
