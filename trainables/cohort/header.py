"""Reads a NIfTI header and refuses what cannot be one real 3-D image with an orientation, before memory is taken."""

import logging
import math
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.spatialimages import HeaderDataError

from trainables.errors import UserError

HEADER_BYTES = 540
"""Of the longer kind, NIfTI-2."""
MAX_VOXELS = 2**30
MIN_SIDE = 2
UNITS_MM = {"mm": 1.0, "micron": 1e-3, "meter": 1e3}
"""Lengths in which a header may count."""
_SILENT = logging.Logger("silent", level=logging.CRITICAL + 1)
# Of a voxel, against the box of its three sides: 0 where the sides lie in a plane.
_MIN_RELATIVE_VOLUME = 1e-3


def read_header(path: Path, head: bytearray) -> nib.Nifti1Header:
    """The header at the start of a file, checked.

    Raises:
        UserError: naming the file, what is wrong with it and what would help.
    """
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


def unit_of(header: nib.Nifti1Header) -> str:
    """The length in which a header counts: a key of `UNITS_MM`; mm where it names none, or one that does not exist."""
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:
        return "mm"
    return unit if unit in UNITS_MM else "mm"


def affine_mm(header: nib.Nifti1Header) -> np.ndarray:
    """(4, 4) from stored voxel to mm, whatever length the header counts in."""
    affine = header.get_best_affine()
    affine[:3] *= UNITS_MM[unit_of(header)]
    return affine


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
            raise refuse(f"its header claims the voxel size {tuple(sides.tolist())}; export it again")
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
