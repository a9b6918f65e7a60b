"""What a cohort is: pairs of files, not yet read."""

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


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Pairs in the order of their ids, and what hindered others from being found."""

    root: Path
    subjects: tuple[Subject, ...]
    problems: tuple[Problem, ...] = ()
    name: str = ""
    simulated: bool = False
