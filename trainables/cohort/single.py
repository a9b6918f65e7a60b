"""One new volume prepared as the cohort was, and a synthesised one brought back to where it came from."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Extension

from trainables.cohort.config import CohortConfig
from trainables.cohort.geometry import Geometry, as_slices, bounding_box, common_size
from trainables.cohort.nifti import load_header
from trainables.cohort.pairs import load_source
from trainables.cohort.prepared import with_neighbours
from trainables.cohort.subjects import Subject
from trainables.errors import UserError
from trainables.files import replacing


@dataclass(frozen=True, kw_only=True)
class PreparedVolume:
    """The slices of one source."""

    source: np.ndarray
    """float32 (S, H, W), normalised by its own percentiles."""
    mask: np.ndarray
    """bool (S, H, W)."""
    geometry: Geometry
    header: nib.Nifti1Header
    """Of the source's file."""
    neighbours: int = 0
    notes: tuple[str, ...] = ()
    """What was mended in reading."""

    def inputs(self, rows: np.ndarray) -> np.ndarray:
        """Slices with their neighbours as channels, as `Slices.inputs` gives them."""
        edges = np.tile([[0], [len(self.source)]], len(rows))
        return self.source[with_neighbours(rows, self.neighbours, *edges)]


def prepare_volume(
    path: Path, config: CohortConfig, mask: Path | None = None, *, window: tuple[int, int] | None = None
) -> PreparedVolume:
    """Prepares a source that has no target, as `prepare` does; H and W are multiples of 8.

    Args:
        path: the source.
        config: percentiles, axis and neighbours.
        mask: its mask; without one its foreground is taken.
        window: (H, W) of the cohort's slices, so that as much of the surroundings is seen as there; a larger mask
            gets a larger window.

    Raises:
        UserError: the image or its mask cannot be used.
    """
    subject = Subject(id=path.name, source=path, target=path, mask=mask)
    volume, inside, low, high = load_source(subject, config)
    box = bounding_box(as_slices(inside, config.axis))
    height, width = (max(sides) for sides in zip(common_size([box]), window or (0, 0), strict=True))
    geometry = Geometry.around(box, (height, width), volume.grid, config.axis, low, high)
    return PreparedVolume(
        source=geometry.slices(volume.data),
        mask=geometry.cut(inside),
        geometry=geometry,
        header=load_header(path),
        neighbours=config.neighbours,
        notes=volume.notes,
    )


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a NIfTI file."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def check_name(path: Path) -> None:
    """Raises UserError unless the name is that of a NIfTI file."""
    if not is_nifti(path):
        raise UserError(f"{path}: give a name that ends in .nii.gz")


def write_volume(slices: np.ndarray, volume: PreparedVolume, path: Path, *, note: str = "") -> None:
    """Writes slices (S, H, W) as float32 NIfTI in the source's units, with its orientation, affine and header.

    Voxels outside the window are 0. Extensions of the header, which may hold a patient's name, are left out.

    Args:
        slices: in normalised units.
        volume: the source they were made of.
        path: ends in .nii or .nii.gz; what is there is replaced.
        note: written into the file as a NIfTI comment.

    Raises:
        UserError: the name does not fit, or the place cannot be written.
    """
    check_name(path)
    header = volume.header.copy()
    header.set_data_dtype(np.float32)
    header["vox_offset"] = 0  # nibabel finds the place behind the comment
    if note:
        header.extensions.append(Nifti1Extension("comment", note.encode()))
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    data = volume.geometry.restore(slices).reshape(header.get_data_shape())
    image = kind(data, header.get_best_affine(), header)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            nib.save(image, beside)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
