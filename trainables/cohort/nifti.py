"""Reads one NIfTI volume, checks everything, and brings it to canonical (RAS+) orientation.

The stream is read once and to its end: a gzip file whose checksum is wrong, which nibabel alone would load as
garbage, is refused. Sizes are checked before memory is taken.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling

from trainables.cohort.header import HEADER_BYTES, affine_mm, read_header, unit_of
from trainables.cohort.stream import opened
from trainables.errors import UserError

MAX_NONFINITE_SHARE = 0.01
_TRAILING_BYTES = 1 << 20
# Deflate cannot pack tighter (zlib technical details: 1032:1).
_MAX_DEFLATE_RATIO = 1032


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where a file's voxels lie, as stored and in canonical orientation (to right, anterior, superior)."""

    path: Path
    stored_shape: tuple[int, int, int]
    stored_affine: np.ndarray
    """(4, 4) from stored voxel to mm."""
    unit: str = "mm"
    """In which the file's own affine counts."""

    @cached_property
    def orientation(self) -> np.ndarray:
        """(3, 2) nibabel orientation of the stored axes."""
        return io_orientation(self.stored_affine)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        x, y, z = (self.stored_shape[i] for i in np.argsort(self.orientation[:, 0]))
        return x, y, z

    @cached_property
    def affine(self) -> np.ndarray:
        """(4, 4) from canonical voxel to mm."""
        return self.stored_affine @ inv_ornt_aff(self.orientation, self.stored_shape)

    @property
    def voxel_size_mm(self) -> tuple[float, float, float]:
        x, y, z = (float(size) for size in voxel_sizes(self.affine))
        return x, y, z


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One image in canonical orientation."""

    grid: Grid
    data: np.ndarray
    """float32 (X, Y, Z); bool for masks."""
    holes: np.ndarray | None = None
    """bool (X, Y, Z), where the file's voxels are NaN or infinite; None where none are, or they were judged."""
    notes: tuple[str, ...] = ()
    """What was mended in reading."""


def load_header(path: Path) -> nib.Nifti1Header:
    """Reads the header alone, checked."""
    with opened(path) as pieces:
        return read_header(path, _take(pieces, HEADER_BYTES))


def load_grid(path: Path) -> Grid:
    """Where a file's voxels lie, from its header alone."""
    return _grid(path, load_header(path))


def load_volume(path: Path) -> Volume:
    """Reads an image: scaling applied, float32, canonical orientation, few NaN or infinite voxels filled.

    Raises:
        UserError: naming the file, what is wrong with it and what would help.
    """
    return mend(read_volume(path))


def read_volume(path: Path) -> Volume:
    """The same, with any share of NaN or infinite voxels: they are filled from around, and `mend` judges them."""
    stored, grid = _read(path)
    finite = np.isfinite(stored)
    num_finite = int(np.count_nonzero(finite))
    holes = None
    if num_finite < stored.size:
        if not num_finite:
            raise UserError(f"{path}: every voxel is NaN or infinite; export it again")
        holes = apply_orientation(~finite, grid.orientation)
        stored = _from_around(stored, ~finite)
    low, high = float(stored.min()), float(stored.max())
    if low == high:
        raise UserError(f"{path}: every voxel is {low:g}, so there is no image; export it again")
    return Volume(grid=grid, data=apply_orientation(stored, grid.orientation), holes=holes)


def load_mask(path: Path) -> Volume:
    """Reads a mask as bool; it may be empty.

    Voxels above 0.5 belong to it (files hold 0.99999 or 255), NaN and infinite ones do not.
    """
    stored, grid = _read(path)
    inside = (stored > 0.5) & np.isfinite(stored)
    return Volume(grid=grid, data=apply_orientation(inside, grid.orientation))


def mend(volume: Volume, mask: np.ndarray | None = None) -> Volume:
    """An image whose NaN or infinite voxels are filled, and noted.

    Inside the mask they are filled from what is around them in it. Outside they are the file's background, as which
    programs write NaN, and get its lowest value, however many they are. Without a mask all of them count as inside.

    Args:
        volume: from `read_volume`.
        mask: bool (X, Y, Z), on the grid of the volume.

    Raises:
        UserError: so many are inside that little would be left to trust.
    """
    if volume.holes is None:
        return volume
    path = volume.grid.path
    inside = volume.holes if mask is None else volume.holes & mask
    share = np.count_nonzero(inside) / inside.size
    if share > MAX_NONFINITE_SHARE:
        where = "" if mask is None else " inside the mask"
        advice = ", or give a mask, outside of which they are background" if mask is None else ""
        raise UserError(
            f"{path}: {share:.1%} of the voxels are NaN or infinite{where} (up to {MAX_NONFINITE_SHARE:.0%} would "
            f"be filled); export it again{advice}"
        )
    outside = volume.holes & ~inside
    notes = []
    data = volume.data
    if mask is not None and inside.any():
        if not (mask & ~inside).any():
            raise UserError(f"{path}: every voxel inside the mask is NaN or infinite; export it again")
        data = np.where(inside, _from_around(data, volume.holes | ~mask), data)
    if num_inside := np.count_nonzero(inside):
        place = "" if mask is None else " (inside the mask)"
        notes.append(f"{num_inside} NaN or infinite voxels filled with their neighbours' mean{place}")
    if num_outside := np.count_nonzero(outside):
        fill = data[~volume.holes].min()
        data = np.where(outside, fill, data)
        notes.append(f"{num_outside} NaN or infinite voxels filled with {fill:g} (outside the mask)")
    return replace(volume, data=data, holes=None, notes=(*volume.notes, *notes))


def _from_around(data: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """The data, each hole with the mean of its place and the six beside it once all have their nearest value."""
    from scipy import ndimage

    nearest = ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
    filled = data[tuple(nearest)]
    cross = ndimage.generate_binary_structure(3, 1)
    filled[holes] = ndimage.convolve(filled, cross / np.float32(cross.sum()), mode="nearest")[holes]
    return filled


def _take(pieces: Iterator[bytes], num_bytes: int) -> bytearray:
    """At least so many bytes, if there are."""
    content = bytearray()
    for piece in pieces:
        content += piece
        if len(content) >= num_bytes:
            break
    return content


def _read(path: Path) -> tuple[np.ndarray, Grid]:
    """The whole volume as float32 (X, Y, Z) as stored, and its grid."""
    with opened(path) as pieces:
        content = _take(pieces, HEADER_BYTES)
        header = read_header(path, content)
        num_bytes = header.get_data_offset() + math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
        num_stored = path.stat().st_size
        if num_bytes > num_stored * _MAX_DEFLATE_RATIO:
            raise UserError(
                f"{path}: truncated: the header promises {num_bytes} bytes, which a file of {num_stored} bytes "
                f"cannot hold; copy it again"
            )
        for piece in pieces:
            content += piece
            if len(content) > num_bytes + _TRAILING_BYTES:
                raise UserError(f"{path}: holds more bytes than its header says; export it again")
    if len(content) < num_bytes:
        raise UserError(f"{path}: truncated: {len(content)} of {num_bytes} bytes are there; copy it again")
    grid = _grid(path, header)
    try:
        stored = np.ndarray(
            grid.stored_shape, header.get_data_dtype(), buffer=content, offset=header.get_data_offset(), order="F"
        )
        with np.errstate(over="ignore"):
            return apply_read_scaling(stored, *header.get_slope_inter()).astype(np.float32), grid
    except HeaderDataError as error:
        raise UserError(f"{path}: its header is wrong ({error}); export it again") from error


def _grid(path: Path, header: nib.Nifti1Header) -> Grid:
    x, y, z = (int(side) for side in header.get_data_shape()[:3])
    return Grid(path=path, stored_shape=(x, y, z), stored_affine=affine_mm(header), unit=unit_of(header))
