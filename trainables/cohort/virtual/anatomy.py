"""The head: a template from nilearn's own files, and each subject's warp of it.

The template is the ICBM152 2009a nonlinear symmetric average (Fonov et al., NeuroImage 2011), whose T1, grey-
and white-matter maps come inside nilearn's wheel; nothing is downloaded.
"""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri

from trainables.cohort.virtual.fields import Grid, spline_field
from trainables.cohort.virtual.protocol import Anatomy

FIELD_OF_VIEW_MM = (192, 224, 200)
TEMPLATE_CENTER_MM = (0.0, -17.0, 5.0)  # the middle of the template's brain
DURA_MM = 1.2  # thickness; it lies on the brain's surface
_DEPTH_SD_MM = 3.0
_MAPS = ("gray", "white", "depth", "folds")


@dataclass(frozen=True, kw_only=True)
class Template:
    """The average head on a grid; maps are float32 (X, Y, Z)."""

    grid: Grid
    """The maps' grid, in template mm."""
    gray: NDArray[np.float32]
    """Share of grey matter."""
    white: NDArray[np.float32]
    """Share of white matter."""
    depth: NDArray[np.float32]
    """mm below the brain's smoothed surface, negative outside, exact within about 6 mm of it."""
    folds: NDArray[np.float32]
    """Share of falx and tentorium."""

    def save(self, folder: Path) -> None:
        """Writes the maps for `open`."""
        folder.mkdir()
        for name in _MAPS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        (folder / "resolution").write_text(repr(self.grid.spacing))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Maps saved maps into memory, which many processes then share."""
        maps = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _MAPS}
        grid = make_grid(float((folder / "resolution").read_text()), TEMPLATE_CENTER_MM)
        return cls(grid=grid, **maps)


def make_grid(resolution: float, center: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Grid:
    """The field of view of every virtual scan at a resolution in mm."""
    shape = tuple(int(np.ceil(length / resolution)) for length in FIELD_OF_VIEW_MM)
    return Grid((shape[0], shape[1], shape[2]), resolution, center)


@lru_cache(maxsize=1)
def load_template(resolution: float) -> Template:
    """Reads nilearn's maps and brings them to `resolution` mm."""
    # The files are found without importing nilearn, which takes seconds.
    spec = importlib.util.find_spec("nilearn")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "datasets" / "data"
    images = {
        name: nibabel.Nifti1Image.from_filename(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
        for name in ("t1", "gm", "wm")
    }
    affine = images["t1"].affine
    t1, gray, white = (np.asarray(image.dataobj, dtype=np.float32) / 255 for image in images.values())
    brain = (t1 > 0).astype(np.float32)
    # A flat surface blurred by a Gaussian is that Gaussian's distribution function of the depth.
    blurred = ndimage.gaussian_filter(brain, _DEPTH_SD_MM, truncate=3)
    depth = (_DEPTH_SD_MM * ndtri(np.clip(blurred, 1e-3, 1 - 1e-3))).astype(np.float32)
    csf = np.clip(brain - gray - white, 0, 1)
    positions = [affine[axis, 3] + np.arange(n, dtype=np.float32) for axis, n in enumerate(t1.shape)]
    folds = _dural_folds(positions, depth) * np.clip(2 * csf, 0, 1)

    grid = make_grid(resolution, TEMPLATE_CENTER_MM)
    offset = grid.affine[:3, 3] - affine[:3, 3]  # both grids are RAS, the template's has 1 mm voxels
    sd = np.sqrt(max(resolution**2 - 1, 0)) / 2.355  # a voxel of the new size averages over its extent

    def resample(volume: NDArray, outside: float = 0.0) -> NDArray[np.float32]:
        smooth = ndimage.gaussian_filter(volume, sd, truncate=3) if sd else volume
        return ndimage.affine_transform(
            smooth, np.full(3, resolution), offset, grid.shape, order=1, mode="constant", cval=outside
        )

    return Template(
        grid=grid,
        gray=resample(gray),
        white=resample(white),
        depth=resample(depth, float(depth.min())),
        folds=resample(folds),
    )


def _dural_folds(positions: list[NDArray], depth: NDArray) -> NDArray[np.float32]:
    """Falx cerebri and tentorium cerebelli as sheets 1.5 mm thick, in MNI mm."""
    x, y, z = np.ix_(*positions)
    around_callosum = ((y + 5) / 52) ** 2 + (z / 38) ** 2 > 1
    falx = (np.abs(x) <= 0.75) & around_callosum & (z > np.where(y > 0, -5, -18))
    roof = 4 + 0.38 * np.minimum(y + 42, 0) - 0.35 * np.abs(x)
    notch = (np.abs(x) < 18) & (y > -45)
    tentorium = (np.abs(z - roof) <= 0.75) & (y < -32) & (y > -98) & ~notch
    return ((falx | tentorium) & (depth > -1)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Head:
    """One subject's head: the N voxels that hold brain or its dura, and what is in them."""

    grid: Grid
    """The subject's grid, centred on the scanner's origin."""
    voxels: NDArray[np.intp]
    """(N,) flat indices into the grid."""
    points: NDArray[np.float32]
    """(N, 3) positions in mm."""
    template_points: NDArray[np.float32]
    """(N, 3) positions in the template, in its mm."""
    gray: NDArray[np.float32]
    white: NDArray[np.float32]
    csf: NDArray[np.float32]
    """(N,) shares of a voxel, as are `gray` and `white`; the three sum to the brain's share."""
    folds: NDArray[np.float32]
    """(N,) share of falx and tentorium."""
    depth: NDArray[np.float32]
    """(N,) mm below the brain's surface."""

    @property
    def brain(self) -> NDArray[np.bool_]:
        """The brain mask, (N,)."""
        return self.depth > 0

    def volume(self, values: NDArray, dtype: type = np.float32) -> NDArray:
        """(N,) -> (X, Y, Z), zero outside the head."""
        out: NDArray = np.zeros(self.grid.shape, dtype)
        out.reshape(-1)[self.voxels] = values
        return out


def draw_head(template: Template, anatomy: Anatomy, rng: np.random.Generator) -> tuple[Head, dict]:
    """Warps the template into a new head.

    Returns:
        the head, and the drawn parameters.
    """
    scale = np.clip(rng.normal(1, anatomy.size_sd_fraction, 3), 0.9, 1.1)
    angles = np.clip(rng.normal(0, anatomy.rotation_sd_degrees, 3), -12, 12)
    shift = np.clip(rng.normal(0, anatomy.shift_sd_mm, 3), -6, 6)
    mirrored = bool(rng.integers(2))
    csf_factor = rng.uniform(*anatomy.csf_factor)
    drawn = {
        "size_factor": scale.tolist(),
        "rotation_degrees": angles.tolist(),
        "shift_mm": shift.tolist(),
        "mirrored": mirrored,
        "csf_factor": csf_factor,
    }
    grid = make_grid(template.grid.spacing)
    to_template = (rotation(angles) @ np.diag(1 / scale)).astype(np.float32)
    if mirrored:
        to_template = np.diag([-1, 1, 1]).astype(np.float32) @ to_template

    warp = anatomy.coarse_warp_sd_mm * spline_field(grid, 40, rng, 3)
    warp += anatomy.fine_warp_sd_mm * spline_field(grid, 20, rng, 3)
    center = np.asarray(TEMPLATE_CENTER_MM, dtype=np.float32)
    points = np.stack(np.meshgrid(*grid.axes(), indexing="ij"), axis=-1).reshape(-1, 3)
    positions = (points - shift.astype(np.float32)) @ to_template.T + center + warp.reshape(3, -1).T

    depth = sample(template.depth, template.grid, positions)
    voxels = np.flatnonzero(depth > -DURA_MM - template.grid.spacing / 2)
    positions, depth = positions[voxels], depth[voxels]
    gray, white, folds = (
        sample(volume, template.grid, positions) for volume in (template.gray, template.white, template.folds)
    )
    inside = np.clip(depth / template.grid.spacing + 0.5, 0, 1)
    # The template averages over people, which blurs its shares: squaring them gives one person's crisp folds.
    powers = np.stack([gray, white, csf_factor * np.clip(1 - gray - white, 0, 1)]) ** 2
    gray, white, csf = inside * powers / powers.sum(axis=0)
    head = Head(
        grid=grid,
        voxels=voxels,
        points=points[voxels],
        template_points=positions,
        gray=gray,
        white=white,
        csf=csf,
        folds=folds * inside,
        depth=depth,
    )
    return head, drawn


def rotation(degrees: NDArray) -> NDArray[np.float64]:
    """(3, 3) rotation about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def sample(volume: NDArray[np.float32], grid: Grid, points: NDArray) -> NDArray[np.float32]:
    """Trilinear values of a volume at (N, 3) mm; outside the grid its nearest voxel's."""
    return ndimage.map_coordinates(volume, grid.index(points).T, order=1, mode="nearest", prefilter=False)
