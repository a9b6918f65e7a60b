"""Tells whether two images are one, however they were stored: the same voxels in canonical order, up to one gain, one
offset and rounding.

Orientation, data type, scaling, units, compression and header texts don't count. A copy that was cropped, resampled,
filtered or retouched in as much as one voxel is another image here.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.cohort.nifti import read_volume
from trainables.cohort.problems import Problem
from trainables.cohort.subjects import Subject

Sketch = tuple[float, ...]

SKETCH_SIZE = 64
RADIUS = 0.03
"""Sketches of one image lie this close, even where one was stored in 8 bits; those of two scans of one head don't: 2 %
noise alone moves them apart by as much, and moving the head does more. Unrelated images lie about 1.4 apart."""
NUM_VOXELS = 100_000
"""At most about so many go into a sketch."""
LEVELS = 255
"""Rounding is at most one of so many levels between an image's lowest and highest voxel: it may have been stored in 8
bits."""
MIN_VOXELS = 100
"""Fewer follow any others' by chance; they must be equal."""


def sketch(data: np.ndarray) -> Sketch:
    """A few numbers of an image (X, Y, Z), about as far apart as the images are when each has mean 0 and SD 1.

    That is the count sketch of Charikar, Chen and Farach-Colton (2002): every voxel is added to one of the numbers, or
    taken from it, as a draw seeded by the image's shape says. Of a large image every n-th voxel along an axis is seen.
    """
    step = math.ceil((data.size / NUM_VOXELS) ** (1 / 3))
    values = data[::step, ::step, ::step].astype(np.float64).ravel()
    values -= values.mean()
    values /= (values.std() or 1.0) * np.sqrt(values.size)
    places = np.random.default_rng(data.shape).integers(2 * SKETCH_SIZE, size=values.size, dtype=np.uint8)
    added, taken = np.bincount(places, values, 2 * SKETCH_SIZE).reshape(2, SKETCH_SIZE)
    return tuple((added - taken).round(6).tolist())


def are_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether each voxel of one image follows from that of the other by one positive gain and one offset, rounded."""
    if one.shape != other.shape:
        return False
    if np.array_equal(one, other):
        return True
    if one.size < MIN_VOXELS or _differ_at_a_glance(one, other):
        return False
    x, y = (values.astype(np.float64) for values in (one, other))
    x -= x.mean()
    y -= y.mean()
    gain = np.vdot(x, y) / (np.vdot(x, x) or 1.0)
    tolerance = min(np.ptp(y), gain * np.ptp(x)) / LEVELS
    return bool(gain > 0 and np.abs(gain * x - y).max() <= tolerance)


def _differ_at_a_glance(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether a few voxels already say that neither image follows from the other; rounding leaves more than 0.99."""
    step = max(1, one.size // 1000)
    x, y = (values.ravel()[::step].astype(np.float64) for values in (one, other))
    x -= x.mean()
    y -= y.mean()
    return bool(np.vdot(x, y) < 0.99 * np.linalg.norm(x) * np.linalg.norm(y))


@dataclass(frozen=True)
class _Image:
    subject: Subject
    role: str

    @property
    def path(self) -> Path:
        path: Path = getattr(self.subject, self.role)
        return path


def find_copies(subjects: Sequence[Subject], sketches: Sequence[tuple[Sketch, Sketch]]) -> list[Problem]:
    """Images that are one under two names: across subjects a leak, in one subject a mistake.

    One subject's pairs may share a file in a manifest, such as a source with two targets; but a pair is given once.
    Images whose sketches are close are read again, and compared voxel by voxel.

    Args:
        subjects: the scans.
        sketches: of each one's source and target.
    """
    images = [_Image(subject, role) for subject in subjects for role in ("source", "target")]
    problems: list[Problem] = []
    found: set[int] = set()
    for first, second in _close([each for pair in sketches for each in pair]):
        one, other = images[first], images[second]
        if second not in found and not _is_shared(one, other) and _is_copy(one.path, other.path):
            found.add(second)
            problems.append(Problem(subject=other.subject.id, message=_message(one, other)))
    return problems


def _close(sketches: Sequence[Sketch]) -> Iterator[tuple[int, int]]:
    """Indices of sketches that are about as close as those of one image, in order."""
    from scipy.spatial import cKDTree

    yield from sorted(cKDTree(np.array(sketches)).query_pairs(RADIUS))


def _is_shared(one: _Image, other: _Image) -> bool:
    """Whether one file was given on purpose to two pairs of a subject."""
    a, b = one.subject, other.subject
    same_pair = (a.source, a.target) == (b.source, b.target)
    return a != b and a.id == b.id and one.path == other.path and not same_pair


def _is_copy(one: Path, other: Path) -> bool:
    return one == other or are_same(read_volume(one).data, read_volume(other).data)


def _message(one: _Image, other: _Image) -> str:
    if one.subject == other.subject:
        return f"{other.path}: is the same image as its source {one.path}; give another"
    return f"{other.path}: is the same image as {one.path} of {one.subject.label}; keep it once"
