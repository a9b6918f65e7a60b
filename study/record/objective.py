"""The validation metric that selects models, trials and incumbents."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.quantities import Goal
from trainables.task import Measurement

if TYPE_CHECKING:
    from study.record.state import Trial


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The validation metric that selects, and its goal."""

    name: str = "psnr"
    goal: Goal = Goal.MAX

    @property
    def key(self) -> str:
        """As measurements name it."""
        return f"val/{self.name}"

    def best(self, trial: "Trial", *, until: float = math.inf) -> Measurement | None:
        """The best measurement of a trial in its epochs up to `until`, whose model is kept; None if there is none."""
        measured = [m for m in trial.measurements if m.epoch <= until and m.metrics.get(self.key) is not None]
        return self.goal.best(measured, lambda m: m.metrics[self.key] or 0.0) if measured else None

    def value(self, trial: "Trial", *, until: float = math.inf) -> float | None:
        """Best validated value of a trial in its epochs up to `until`, None if it measured nothing."""
        best = self.best(trial, until=until)
        return None if best is None else best.metrics[self.key]

    def incumbent(self, trials: Sequence["Trial"]) -> "Trial | None":
        """The best validated complete trial; the earlier one of equals."""
        complete = [(v, t) for t in trials if t.state == "complete" and (v := self.value(t)) is not None]
        return self.goal.best(complete, lambda pair: pair[0])[1] if complete else None
