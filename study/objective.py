"""What selects: of measurements, of trials, in every arm alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from study.state import Trial


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The validation metric that selects, and its goal."""

    name: str
    goal: str

    @property
    def key(self) -> str:
        """As measurements name it."""
        return f"val/{self.name}"

    def value(self, trial: Trial, *, until: float = math.inf) -> float | None:
        """Best validated value of a trial in its epochs up to `until`, None if it measured nothing."""
        best = trial.best(self.key, self.goal, until=until)
        return None if best is None else best["metrics"][self.key]

    def incumbent(self, trials: Sequence[Trial]) -> Trial | None:
        """The best validated complete trial; the earlier one of equals."""
        sign = 1 if self.goal == "max" else -1
        complete = [(sign * v, t) for t in trials if t.state == "complete" and (v := self.value(t)) is not None]
        return max(complete, key=lambda pair: pair[0])[1] if complete else None
