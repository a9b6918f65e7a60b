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

from trainables.cohort.header import HEADER_BYTES, read_header
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
    """Reads an image: scaling applied, float32, canonical orientation.

    Raises:
        UserError: naming the file, what is wrong with it and what would help.
    """
    volume = _load(path)
    low, high = float(volume.data.min()), float(volume.data.max())
    if low == high:
        raise UserError(f"{path}: every voxel is {low:g}, so there is no image; export it again")
    return volume


def load_mask(path: Path) -> Volume:
    """Reads a mask as bool: voxels above 0.5 belong to it (files hold 0.99999 or 255); it may be empty."""
    volume = _load(path)
    return replace(volume, data=volume.data > 0.5)


def _load(path: Path) -> Volume:
    stored, grid = _read(path)
    data, notes = _fill_nonfinite(path, stored)
    return Volume(grid=grid, data=apply_orientation(data, grid.orientation), notes=notes)


def _fill_nonfinite(path: Path, data: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    finite = np.isfinite(data)
    num_bad = data.size - int(np.count_nonzero(finite))
    if not num_bad:
        return data, ()
    share = num_bad / data.size
    if share > MAX_NONFINITE_SHARE:
        raise UserError(
            f"{path}: {share:.1%} of the voxels are NaN or infinite (up to {MAX_NONFINITE_SHARE:.0%} would "
            f"be filled); export it again"
        )
    fill = data[finite].min()
    return np.where(finite, data, fill), (f"{num_bad} NaN or infinite voxels filled with {fill:g}",)


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
    return Grid(path=path, stored_shape=(x, y, z), stored_affine=header.get_best_affine())
