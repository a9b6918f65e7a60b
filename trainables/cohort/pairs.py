"""Brings the images of one pair onto one grid, and finds the region that counts."""

import numpy as np

from trainables.cohort.config import CohortConfig
from trainables.cohort.nifti import Grid, Volume, load_grid, load_mask, load_volume, mend, read_volume
from trainables.cohort.subjects import Subject
from trainables.errors import UserError

GRID_TOLERANCE = 0.05
"""Part of the smallest voxel side that two grids may differ by anywhere in the image."""
MIN_COVERAGE = 0.99
"""Share of the mask that a resampled image must cover."""
WRONG_UNIT = 100.0
"""Voxels so many times larger or smaller than those of the other image are no other resolution, but another unit."""
_BACKGROUND_SHARE = 0.2


def grid_distance_mm(one: Grid, other: Grid) -> float:
    """Largest distance between the same corner of two grids of one shape."""
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float).T
    corners[:3] *= np.array(one.shape, dtype=float)[:, None] - 1
    return float(np.linalg.norm(((one.affine - other.affine) @ corners)[:3], axis=0).max())


def grid_difference(grid: Grid, reference: Grid) -> str | None:
    """How a grid differs from the reference, in words; None where they agree."""
    if grid.shape != reference.shape:
        return f"its shape is {_sides(grid)}, not {_sides(reference)}"
    distance = grid_distance_mm(grid, reference)
    if distance > GRID_TOLERANCE * min(reference.voxel_size_mm):
        return f"its voxels lie up to {distance:.3g} mm away"
    return None


def align(volume: Volume, reference: Grid, config: CohortConfig, *, is_mask: bool = False) -> np.ndarray:
    """The data of `volume` on the grid of `reference`, resampled if the configuration allows it.

    Raises:
        UserError: another grid and no resampling, naming both files and the difference.
    """
    difference = grid_difference(volume.grid, reference)
    if difference is None:
        return volume.data
    if ratio := _unit_ratio(volume.grid, reference):
        raise UserError(
            f"{volume.grid.path}: its voxels are {ratio} the size of those of {reference.path}; one of the headers "
            f"names the wrong unit of length ({volume.grid.unit} and {reference.unit}): mend xyzt_units"
        )
    if not config.resample:
        raise UserError(
            f"{volume.grid.path}: is not on the grid of {reference.path}: {difference}; register them, "
            f"or set resample: true"
        )
    return _resample(volume, reference, is_mask)


def _unit_ratio(grid: Grid, reference: Grid) -> str:
    """How many times larger or smaller voxels are, in words, if only a wrong unit can explain it; else ''."""
    ratio = max(grid.voxel_size_mm) / max(reference.voxel_size_mm)
    if 1 / WRONG_UNIT < ratio < WRONG_UNIT:
        return ""
    return f"{ratio:.3g} times" if ratio > 1 else f"1/{1 / ratio:.3g}"


def _sides(grid: Grid) -> str:
    return "x".join(str(side) for side in grid.shape)


def _resample(volume: Volume, reference: Grid, is_mask: bool) -> np.ndarray:
    """Cubic for images, linear and 0.5 for masks; NaN outside the field of view of `volume`."""
    import nibabel as nib
    from nibabel.processing import resample_from_to

    image = nib.Nifti1Image(volume.data.astype(np.float32), volume.grid.affine)
    resampled = resample_from_to(
        image, (reference.shape, reference.affine), order=1 if is_mask else 3, cval=0.0 if is_mask else np.nan
    )
    data = np.asarray(resampled.dataobj, dtype=np.float32)
    return data > 0.5 if is_mask else data


def load_target(subject: Subject, reference: Grid, mask: np.ndarray, config: CohortConfig) -> Volume:
    """The target on its own grid, its NaN or infinite voxels filled; the mask lies on the grid of the source."""
    return mend_target(read_volume(subject.target), reference, mask, config)


def mend_target(volume: Volume, reference: Grid, mask: np.ndarray, config: CohortConfig) -> Volume:
    """The same, of a target that was read."""
    if volume.holes is None:
        return volume
    return mend(volume, align(Volume(grid=reference, data=mask), volume.grid, config, is_mask=True))


def align_target(volume: Volume, reference: Grid, mask: np.ndarray, config: CohortConfig) -> np.ndarray:
    """The target's data on the source's grid, float32 (X, Y, Z); it must show something inside the mask."""
    path, data = volume.grid.path, align(volume, reference, config)
    outside = np.isnan(data)
    if outside.any():
        coverage = 1 - float(outside[mask].mean())
        if coverage < MIN_COVERAGE:
            raise UserError(
                f"{path}: covers only {coverage:.0%} of the mask of {reference.path}; give an image of the same region"
            )
        data = np.where(outside, data[~outside].min(), data)
    inside = data[mask]
    if inside.min() == inside.max():
        raise UserError(f"{path}: every voxel inside the mask is {inside.min():g}; export it again")
    return data


def find_mask(subject: Subject, grid: Grid, config: CohortConfig, source: Volume | None = None) -> np.ndarray:
    """The mask of a subject, bool (X, Y, Z): the given one, or else the foreground of its source.

    Raises:
        UserError: a mask without voxels, or on another grid.
    """
    if subject.mask is None:
        return foreground(source or load_volume(subject.source))
    mask = align(load_mask(subject.mask), grid, config, is_mask=True)
    if not mask.any():
        raise UserError(f"{subject.mask}: the mask is empty; draw it again, or leave it out")
    return mask


def find_lesion(subject: Subject, grid: Grid, config: CohortConfig) -> np.ndarray | None:
    """The lesion mask, bool (X, Y, Z), which may be empty; None without a file."""
    return None if subject.lesion is None else align(load_mask(subject.lesion), grid, config, is_mask=True)


def foreground(volume: Volume) -> np.ndarray:
    """The head or brain where no mask is given: what differs from the background, without holes and specks.

    Skull-stripped images have one background value (the commonest at the border); others are cut at Otsu's threshold.

    Raises:
        UserError: nothing stands out.
    """
    from scipy import ndimage

    border = np.concatenate([volume.data.take(end, axis).ravel() for axis in range(3) for end in (0, -1)])
    values, counts = np.unique(border, return_counts=True)
    mask = volume.data != values[counts.argmax()]
    if mask.mean() > 1 - _BACKGROUND_SHARE:
        from skimage.filters import threshold_otsu

        mask = volume.data > threshold_otsu(volume.data)
    labels, num_parts = ndimage.label(ndimage.binary_opening(mask))
    if not num_parts:
        raise UserError(f"{volume.grid.path}: no head stands out from the background; give a mask")
    largest = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    return ndimage.binary_fill_holes(ndimage.binary_closing(largest))


def find_range(source: Volume, mask: np.ndarray, config: CohortConfig) -> tuple[float, float]:
    """The intensities of the source that become 0 and 1: its percentiles inside the mask."""
    low, high = (float(value) for value in np.percentile(source.data[mask], config.percentiles))
    if not low < high:
        raise UserError(
            f"{source.grid.path}: nearly every voxel inside the mask is {low:g}; check the image and its mask"
        )
    return low, high


def load_source(subject: Subject, config: CohortConfig) -> tuple[Volume, np.ndarray, float, float]:
    """The source, its mask, and the intensities that become 0 and 1."""
    # A given mask is read first, so that the two are not unpacked in memory at once.
    mask = find_mask(subject, load_grid(subject.source), config) if subject.mask else None
    source = mend(read_volume(subject.source), mask)
    if mask is None:
        mask = find_mask(subject, source.grid, config, source)
    return source, mask, *find_range(source, mask, config)
