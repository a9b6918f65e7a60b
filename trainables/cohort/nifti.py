"""Reads one NIfTI volume, checks everything, and brings it to canonical (RAS+) orientation.

The stream is read once and to its end: a gzip file whose checksum is wrong, which nibabel alone would load as
garbage, is refused. Sizes are checked before memory is taken.
"""

import logging
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling

from trainables.errors import UserError

MAX_VOXELS = 2**30
MAX_NONFINITE_SHARE = 0.01
MIN_SIDE = 2
_SILENT = logging.Logger("silent", level=logging.CRITICAL + 1)
_HEADER_BYTES = 540
_CHUNK_BYTES = 1 << 17
_TRAILING_BYTES = 1 << 20
# Of a voxel, against the box of its three sides: 0 where the sides lie in a plane.
_MIN_RELATIVE_VOLUME = 1e-3
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


def load_grid(path: Path) -> Grid:
    """Reads the header alone."""
    with _opened(path) as pieces:
        return _grid(path, _header(path, _take(pieces, _HEADER_BYTES)))


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


# The file


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[bytes]]:
    """The content of the file in pieces, unpacked where it is gzip (told by its first bytes, not by its name)."""
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is a folder or device, not a NIfTI file; give the file itself")
        with path.open("rb") as file:
            head = file.read(512)
            if not head:
                raise UserError(f"{path}: is empty; copy it again")
            if head.startswith(b"version https://git-lfs"):
                raise UserError(f"{path}: is a Git LFS pointer, not the image; run git lfs pull")
            if b"annex/objects" in head:
                raise UserError(f"{path}: is a git-annex pointer, not the image; run git annex get")
            file.seek(0)
            chunks = iter(partial(file.read, _CHUNK_BYTES), b"")
            yield _unpacked(path, chunks) if head.startswith(b"\x1f\x8b") else chunks
    except FileNotFoundError as error:
        why = "a link to a file that is not here; fetch its content" if path.is_symlink() else "no such file"
        raise UserError(f"{path}: {why}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except zlib.error as error:
        raise UserError(f"{path}: damaged gzip stream ({error}); copy it again") from error


def _unpacked(path: Path, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of one or more gzip members, checksums verified, in pieces of bounded size."""
    stream = None
    for chunk in chunks:
        rest = chunk
        while rest:
            if stream is None:
                # Zeros may pad the end, and more members follow, as the gzip module reads it.
                rest = rest.lstrip(b"\0")
                stream = zlib.decompressobj(wbits=31) if rest else None
                continue
            yield stream.decompress(rest, _CHUNK_BYTES)
            rest = stream.unused_data if stream.eof else stream.unconsumed_tail
            stream = None if stream.eof else stream
    if stream is not None:
        yield stream.flush()
        if not stream.eof:
            raise UserError(f"{path}: truncated: the gzip stream ends too early; copy it again")


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
    with _opened(path) as pieces:
        content = _take(pieces, _HEADER_BYTES)
        header = _header(path, content)
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


# The header


def _header(path: Path, head: bytearray) -> nib.Nifti1Header:
    """The header at the start of a file, checked."""
    kinds = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
    for order in ("little", "big"):
        kind = kinds.get(int.from_bytes(head[:4], order))
        if kind and len(head) >= kind.sizeof_hdr:
            magic = head[344:348] if kind is nib.Nifti1Header else head[4:8]
            if magic[:3] not in (b"n+1", b"n+2"):
                raise UserError(f"{path}: is half of an Analyze or NIfTI pair (.hdr, .img); convert it to one .nii.gz")
            block = bytes(head[: kind.sizeof_hdr])
            header = kind(block, endianness="<" if order == "little" else ">", check=False)
            _check(path, header)
            return header
    if len(head) < nib.Nifti1Header.sizeof_hdr:
        raise UserError(f"{path}: truncated: too short for a NIfTI header; copy it again")
    raise UserError(f"{path}: is not a NIfTI file; convert it (DICOM: dcm2niix)")


def _grid(path: Path, header: nib.Nifti1Header) -> Grid:
    x, y, z = (int(side) for side in header.get_data_shape()[:3])
    return Grid(path=path, stored_shape=(x, y, z), stored_affine=header.get_best_affine())


def _check(path: Path, header: nib.Nifti1Header) -> None:
    """Refuses what cannot be one real 3-D image with an orientation."""

    def refuse(what: str) -> UserError:
        return UserError(f"{path}: {what}")

    try:
        num_dims = int(header["dim"][0])
        if not 1 <= num_dims <= 7:
            raise refuse(f"its header claims {num_dims} dimensions; export it again")
        shape = tuple(int(side) for side in header.get_data_shape())
        if min(shape) < 1:
            raise refuse(f"its header claims the shape {shape}; export it again")
        if math.prod(shape[3:]) > 1:
            raise refuse(f"holds {math.prod(shape[3:])} volumes (shape {shape}); extract the one to use")
        if len(shape) < 3 or min(shape[:3]) < MIN_SIDE:
            raise refuse(f"is not a volume (shape {shape}); give a 3-D image")
        if math.prod(shape) > MAX_VOXELS:
            raise refuse(f"its header claims the absurd shape {shape}; export it again")
        sides = np.asarray(header["pixdim"][1:4], dtype=float)
        if not np.isfinite(sides).all() or (sides == 0).any():
            raise refuse(f"its header claims the voxel size {tuple(sides.tolist())} mm; export it again")
        # Mends what the standard lets pass, such as a qfac of 0 or a negative side; raises at the rest.
        header.check_fix(logger=_SILENT)
        dtype = header.get_data_dtype()
        if dtype.names or dtype.kind == "V":
            raise refuse("is a colour (RGB) image; give the grey-value image")
        if dtype.kind == "c":
            raise refuse("is a complex image; give the magnitude image")
        if dtype.kind not in "iuf":
            raise refuse(f"has the unsupported data type {dtype}; save it as int16 or float32")
        if not math.isfinite(float(header["vox_offset"])) or header.get_data_offset() < header.sizeof_hdr + 4:
            raise refuse(f"its header puts the data at byte {header['vox_offset']}; export it again")
        if int(header["qform_code"]) <= 0 and int(header["sform_code"]) <= 0:
            raise refuse("its header has no orientation (qform and sform codes are 0); export it again, or set one")
        affine = header.get_best_affine()
        with np.errstate(over="ignore", invalid="ignore"):
            volume = abs(np.linalg.det(affine[:3, :3])) / np.prod(voxel_sizes(affine))
        if not np.isfinite(affine).all() or not volume > _MIN_RELATIVE_VOLUME:
            raise refuse("its affine is singular or not finite; export it again, or set one")
    except UserError:
        raise
    except (HeaderDataError, ValueError, KeyError) as error:
        raise refuse(f"its header is wrong ({error}); export it again") from error
