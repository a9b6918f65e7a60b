"""What is measured of a scan while its volumes are in memory, so that scans can be set against each other later."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from trainables.cohort.gains import Levels, find_gain_problem, gains_of, levels_of
from trainables.cohort.likeness import Sketch, are_same, find_copies
from trainables.cohort.problems import Problem
from trainables.cohort.subjects import Subject


@dataclass(frozen=True, kw_only=True)
class Traits:
    """A scan's images in a few numbers; they travel as JSON."""

    sketches: tuple[Sketch, Sketch]
    """Of source and target, as stored."""
    levels: tuple[Levels, Levels] | None = None
    """Of both inside the mask; None where the two don't fit each other or the mask."""
    target_is_source: bool = False
    """Inside the mask, up to gain, offset and rounding."""

    @classmethod
    def of(cls, sketches: tuple[Sketch, Sketch], source: np.ndarray, target: np.ndarray) -> Self:
        """From the sketches of both images and their intensities inside the mask, (n,)."""
        levels = levels_of(source), levels_of(target)
        return cls(sketches=sketches, levels=levels, target_is_source=are_same(source, target))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Rebuilds what `dataclasses.asdict` and JSON made of traits."""
        sketches, levels = ([tuple(each) for each in values[name]] for name in ("sketches", "levels"))
        return cls(
            sketches=(sketches[0], sketches[1]),
            levels=(levels[0], levels[1]),
            target_is_source=bool(values["target_is_source"]),
        )


def find_common_problems(subjects: Sequence[Subject], traits: Sequence[Traits]) -> list[Problem]:
    """What only shows between images: copies, and gains that differ between subjects."""
    copies = find_copies(subjects, [each.sketches for each in traits])
    named = {problem.subject for problem in copies}
    for subject, each in zip(subjects, traits, strict=True):
        if each.target_is_source and subject.id not in named:
            message = (
                f"{subject.target}: is inside the mask the same image as its source {subject.source}; give another"
            )
            copies.append(Problem(subject=subject.id, message=message))
    return copies + find_gain_problem(subjects, gains_of([each.levels for each in traits]))
