"""Whether one scale, the source's, fits source and target of all subjects: the target's gain against the source."""

from collections.abc import Sequence

import numpy as np

from trainables.cohort.problems import Problem
from trainables.cohort.subjects import Subject

MAX_RATIO = 1.5
"""By which the largest gain may exceed the smallest."""

Levels = tuple[float, ...]

_NUM_VALUES = 50_000
"""Of a large mask every n-th voxel is looked at, about so many."""
_PERCENTILES = (5, 25, 50, 75, 95)


def levels_of(values: np.ndarray) -> Levels:
    """Percentiles of an image inside its mask, from low to high."""
    return tuple(np.percentile(values[:: max(1, values.size // _NUM_VALUES)], _PERCENTILES).tolist())


def gains_of(levels: Sequence[tuple[Levels, Levels] | None]) -> list[float | None]:
    """The target's gain against the source in each scan, from the levels of both; None where it cannot be told.

    A gain stretches everything alike, while contrast agents, lesions and anatomy move one level more than another. So
    several measures are taken, and the one by which the scans differ least is believed: medians (not where intensities
    reach below 0, as in CT or standard scores, whose zero means nothing), and ranges from the 25th to the 75th and from
    the 5th to the 95th percentile.
    """
    from_zero = all(image[0] >= 0 for pair in levels if pair for image in pair)
    spans = ((None, 2), (1, 3), (0, 4)) if from_zero else ((1, 3), (0, 4))
    measured = [[_gain(pair, low, high) for pair in levels] for low, high in spans]
    return min(measured, key=lambda gains: (gains.count(None), _ratio(gains)))


def find_gain_problem(subjects: Sequence[Subject], gains: Sequence[float | None]) -> list[Problem]:
    """A problem of the whole cohort, if gains differ so much that a target is white or black on the source's scale."""
    ratio = _ratio(gains)
    if ratio <= MAX_RATIO:
        return []
    known = [(gain, subject.label) for subject, gain in zip(subjects, gains, strict=True) if gain is not None]
    (smallest, dark), (largest, bright) = min(known), max(known)
    message = (
        f"the target's gain against the source varies {ratio:.3g}-fold between subjects, from {smallest:.3g} in {dark} "
        f"to {largest:.3g} in {bright}; both images have the source's scale, which allows {MAX_RATIO:g}-fold: scale "
        f"each image by itself first (for example to its percentiles inside the mask), or leave out the subjects that "
        f"differ"
    )
    return [Problem(subject="", message=message)]


def _gain(pair: tuple[Levels, Levels] | None, low: int | None, high: int) -> float | None:
    """Of one scan, by the distance between two levels; by the upper one alone where `low` is None."""
    if pair is None:
        return None
    source, target = (image[high] - (0.0 if low is None else image[low]) for image in pair)
    return target / source if source > 0 and target > 0 else None


def _ratio(gains: Sequence[float | None]) -> float:
    """The largest over the smallest; 1 where fewer than two are known."""
    known = [gain for gain in gains if gain is not None]
    return max(known) / min(known) if known else 1.0
