"""What a cohort is: pairs of files, not yet read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.cohort.problems import Problem


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One pair of images; a subject scanned more than once has several, told apart by `scan`."""

    id: str
    source: Path
    target: Path
    mask: Path | None = None
    lesion: Path | None = None
    split: str | None = None
    group: str | None = None
    scan: str = ""

    @property
    def label(self) -> str:
        """Id and scan, as shown inside the cohort's own folder."""
        return f"{self.id} {self.scan}".strip()


def given_twice(subjects: Sequence[Subject], where: Path) -> list[Problem]:
    """Pairs of the same two files that one subject has twice, be it by other paths or links: one scan, not two."""
    problems = []
    known: dict[tuple[str, str, str], Subject] = {}
    for subject in subjects:
        first = known.setdefault(
            (subject.id, os.path.realpath(subject.source), os.path.realpath(subject.target)), subject
        )
        if first is not subject:
            message = (
                f"{where}: {subject.id} has the same pair twice ({subject.source} and {subject.target}), "
                f"as {first.scan} and as {subject.scan}; keep it once, or correct the files of one"
            )
            problems.append(Problem(subject=subject.id, message=message))
    return problems


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Pairs in the order of their ids, and what hindered others from being found."""

    root: Path
    subjects: tuple[Subject, ...]
    problems: tuple[Problem, ...] = ()
    left_out: tuple[Problem, ...] = ()
    """What looks like a subject's folder and has no pair, with what it holds: nothing that hinders."""
    name: str = ""
    simulated: bool = False
