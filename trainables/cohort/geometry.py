"""From a volume to its slices and back: axis, window and intensity scale of one subject."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from trainables.cohort.config import Axis
from trainables.cohort.nifti import Grid

MULTIPLE = 8
"""Height and width of slices are multiples of this, so that networks may halve them three times."""
_AXES: dict[Axis, int] = {"sagittal": 0, "coronal": 1, "axial": 2}

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def as_slices(volume: np.ndarray, axis: Axis) -> np.ndarray:
    """A view (S, H, W) of a canonical volume: superior or anterior at the top, left at the left."""
    through = _AXES[axis]
    across, down = (i for i in range(3) if i != through)
    return volume.transpose(through, down, across)[:, ::-1]


def as_volume(slices: np.ndarray, axis: Axis) -> np.ndarray:
    """The inverse of `as_slices`."""
    through = _AXES[axis]
    across, down = (i for i in range(3) if i != through)
    return slices[:, ::-1].transpose(np.argsort((through, down, across)))


def bounding_box(mask: np.ndarray) -> Box:
    """First and past-the-last index of the mask along each axis of (S, H, W)."""
    ranges = []
    for axis in range(3):
        inside = np.flatnonzero(mask.any(axis=tuple(i for i in range(3) if i != axis)))
        ranges.append((int(inside[0]), int(inside[-1]) + 1))
    s, h, w = ranges
    return s, h, w


def common_size(boxes: list[Box]) -> tuple[int, int]:
    """The smallest height and width, multiples of 8, that hold the slices of every box."""
    height, width = (max(stop - start for start, stop in ranges) for ranges in list(zip(*boxes, strict=True))[1:])
    return -(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How one subject's stored volume became slices; knows the way back."""

    axis: Axis
    start: tuple[int, int, int]
    """Slice, row and column at which the window starts in the volume; negative where it is padded."""
    size: tuple[int, int, int]
    """(S, H, W) of the window."""
    shape: tuple[int, int, int]
    """(X, Y, Z) of the canonical volume."""
    stored_shape: tuple[int, int, int]
    stored_affine: tuple[tuple[float, ...], ...]
    low: float
    high: float
    """Intensities that become 0 and 1."""

    @classmethod
    def around(cls, box: Box, size: tuple[int, int], grid: Grid, axis: Axis, low: float, high: float) -> "Geometry":
        """A window of `size` (H, W) centred on the box, moved inside the image where it can be."""
        across = as_slices(np.empty(grid.shape, dtype=np.bool_), axis).shape
        starts = [box[0][0]]
        for (first, stop), side, length in zip(box[1:], size, across[1:], strict=True):
            starts.append(min(max((first + stop - side) // 2, 0), max(length - side, 0)))
        return cls(
            axis=axis,
            start=(starts[0], starts[1], starts[2]),
            size=(box[0][1] - box[0][0], *size),
            shape=grid.shape,
            stored_shape=grid.stored_shape,
            stored_affine=tuple(tuple(float(value) for value in row) for row in grid.stored_affine),
            low=low,
            high=high,
        )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Geometry":
        """Rebuilds what `dataclasses.asdict` and JSON made of a geometry."""
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        plain["stored_affine"] = tuple(tuple(row) for row in plain["stored_affine"])
        return cls(**plain)

    def cut(self, volume: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The window (S, H, W) of a canonical volume, zero where it reaches beyond the image."""
        window = np.empty(self.size, dtype=volume.dtype) if out is None else out
        inside, image = self._overlap()
        window[...] = 0
        window[inside] = as_slices(volume, self.axis)[image]
        return window

    def normalise(self, values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Intensities on the scale on which the source's percentiles are 0 and 1, float32, not clipped."""
        scaled = np.subtract(values, np.float32(self.low), out=out, dtype=np.float32)
        scaled /= np.float32(self.high - self.low)
        return scaled

    def slices(self, volume: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The window of a canonical image, normalised: float32 (S, H, W)."""
        window = self.cut(volume, out)
        return self.normalise(window, out=window)

    def restore(self, slices: np.ndarray) -> np.ndarray:
        """The inverse of cutting and normalising: stored orientation and shape, the source's units, float32.

        Voxels outside the window are 0.
        """
        volume = np.zeros(self.shape, dtype=np.float32)
        inside, image = self._overlap()
        as_slices(volume, self.axis)[image] = slices[inside] * np.float32(self.high - self.low) + np.float32(self.low)
        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(np.array(self.stored_affine)))
        return np.ascontiguousarray(apply_orientation(volume, back))

    def _overlap(self) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Index of the image's part inside the window, and inside the slices of the image."""
        lengths = as_slices(np.empty(self.shape, dtype=np.bool_), self.axis).shape
        inside, image = [], []
        for start, side, length in zip(self.start, self.size, lengths, strict=True):
            first, stop = max(start, 0), min(start + side, length)
            inside.append(slice(first - start, stop - start))
            image.append(slice(first, stop))
        return tuple(inside), tuple(image)
