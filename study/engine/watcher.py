"""Who watches a study run, and is told how far it has come."""

from typing import Protocol

from study.planning.plan import Plan
from study.record.state import StudyState


class Watcher(Protocol):
    """Told what happens. A study waits for none of these calls longer than they take."""

    def say(self, line: str) -> None:
        """One line for a person."""

    def begin(self, state: StudyState, plan: Plan, workers: int) -> None:
        """Trials are about to run, `workers` at a time; `state` is kept up to date."""

    def tick(self) -> None:
        """Called about ten times a second while trials run."""

    def end(self) -> None:
        """No trial runs any more."""


class Silence:
    """Watches and says nothing: what a notebook wants."""

    def say(self, line: str) -> None:
        """Nothing."""

    def begin(self, state: StudyState, plan: Plan, workers: int) -> None:
        """Nothing."""

    def tick(self) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""
