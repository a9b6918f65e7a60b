"""What is wrong with subjects: gathered over all of them, then said in one line."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from trainables.errors import UserError

NUM_THREADS = 2
"""Subjects in memory at once."""
Progress = Callable[[int, int], None]
"""Called with (subjects done, subjects in all)."""


class _Named(Protocol):
    @property
    def id(self) -> str: ...


_Subject = TypeVar("_Subject", bound=_Named)
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with a subject's files, in one line that names the file and what would help."""

    subject: str
    message: str


def refuse(problems: Sequence[Problem], root: Path) -> None:
    """Raises a UserError that names the first problems, if there are any."""
    if problems:
        shown = "; ".join(problem.message for problem in problems[:3])
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{root}: the cohort cannot be used: {shown}{more} (`cohort check` lists everything)")


def gather(
    work: Callable[[_Subject], _Result], subjects: Sequence[_Subject], root: Path, progress: Progress | None = None
) -> list[_Result]:
    """Does the work on every subject, in threads; what any of them raised is then raised as one.

    Raises:
        UserError: the work on at least one subject raised one.
    """

    def attempt(subject: _Subject) -> _Result | Problem:
        try:
            return work(subject)
        except UserError as error:
            return Problem(subject=subject.id, message=str(error))

    results, problems = [], []
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for index, outcome in enumerate(pool.map(attempt, subjects), 1):
            if isinstance(outcome, Problem):
                problems.append(outcome)
            else:
                results.append(outcome)
            if progress:
                progress(index, len(subjects))
    refuse(problems, root)
    return results
