"""One new volume prepared as the cohort was, and a synthesised one brought back to where it came from."""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from trainables.cohort.config import CohortConfig
from trainables.cohort.geometry import Geometry, as_slices, bounding_box, common_size
from trainables.cohort.pairs import load_source
from trainables.cohort.subjects import Subject
from trainables.errors import UserError


@dataclass(frozen=True, kw_only=True)
class PreparedVolume:
    """The slices of one source."""

    source: np.ndarray
    """float32 (S, H, W), normalised by its own percentiles."""
    mask: np.ndarray
    """bool (S, H, W)."""
    geometry: Geometry


def prepare_volume(path: Path, config: CohortConfig, mask: Path | None = None) -> PreparedVolume:
    """Prepares a source that has no target, as `prepare` does; H and W are multiples of 8.

    Raises:
        UserError: the image or its mask cannot be used.
    """
    subject = Subject(id=path.name, source=path, target=path, mask=mask)
    volume, inside, low, high = load_source(subject, config)
    box = bounding_box(as_slices(inside, config.axis))
    geometry = Geometry.around(box, common_size([box]), volume.grid, config.axis, low, high)
    return PreparedVolume(source=geometry.slices(volume.data), mask=geometry.cut(inside), geometry=geometry)


def write_volume(slices: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes slices (S, H, W) as float32 NIfTI in the source's units, orientation and affine; 0 outside."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise UserError(f"{path}: give a name that ends in .nii.gz")
    image = nib.Nifti1Image(geometry.restore(slices), np.array(geometry.stored_affine))
    image.header.set_xyzt_units("mm")
    beside = path.with_name(f".{uuid.uuid4().hex}-{path.name}")
    try:
        nib.save(image, beside)
        os.replace(beside, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
    finally:
        beside.unlink(missing_ok=True)
