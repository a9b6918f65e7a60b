"""What a person sees while a study runs: one live table on a terminal, plain lines elsewhere."""

import sys
import time
from contextlib import suppress

from rich.console import Console
from rich.live import Live
from rich.table import Table

from study.commands.console import arm_table, make_console
from study.commands.units import duration
from study.planning.plan import Plan
from study.planning.standing import arm_standings, seconds_left
from study.record.state import StudyState, Trial

LIVE_SECONDS = 0.5


class Progress:
    """Shows how far a study has come.

    Args:
        console: where to; a terminal gets a live table, anything else a line whenever a trial ends.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or make_console(sys.stderr)
        self._view: _View | None = None

    def say(self, line: str) -> None:
        """One line, above the table if there is one. Nobody reading any more is no reason to end a study."""
        with suppress(SystemExit):  # rich's answer to a closed pipe
            self._console.print(line, markup=False, highlight=False)

    def begin(self, state: StudyState, plan: Plan, workers: int) -> None:
        """Shows `state` from now on."""
        total = plan.num_trials
        self.say(f"Trials: {total if total else 'as many as the budget allows'}, {workers} at a time")
        make = _Table if self._console.is_terminal else _Lines
        self._view = make(self._console, state, plan, workers)

    def tick(self) -> None:
        """Shows what is new."""
        if self._view is not None:
            self._view.update()

    def end(self) -> None:
        """Shows what came last."""
        if self._view is not None:
            self._view.close()
            self._view = None


class _View:
    """What is shown of a running study."""

    def __init__(self, console: Console, state: StudyState, plan: Plan, workers: int) -> None:
        self.console, self.state, self.plan, self.workers = console, state, plan, workers
        self.began = time.monotonic()

    def update(self) -> None:
        """Called often."""

    def close(self) -> None:
        """Called once, after the last trial."""
        self.update()

    def left(self) -> float | None:
        """Seconds until the plan is done."""
        return seconds_left(self.state, self.plan, self.workers)


class _Lines(_View):
    """A line for each trial that has ended."""

    def __init__(self, console: Console, state: StudyState, plan: Plan, workers: int) -> None:
        super().__init__(console, state, plan, workers)
        self._told = {key for key, trial in state.trials.items() if not trial.state.is_open}

    def update(self) -> None:
        for key, trial in self.state.trials.items():
            if key not in self._told and not trial.state.is_open:
                self._told.add(key)
                with suppress(SystemExit):
                    self.console.print(self._line(trial), markup=False, highlight=False)

    def _line(self, trial: Trial) -> str:
        total = self.plan.num_trials
        count = f"[{len(self._told)}/{total}]" if total else f"[{len(self._told)}]"
        objective = self.state.objective
        value = objective.value(trial)
        quality = "" if value is None else f"{objective.key} {value:.4g}  "
        reason = f"  {trial.attempts[-1].reason}" if trial.state == "failed" and trial.attempts[-1].reason else ""
        left = self.left()
        return f"{count} {trial.key}  {trial.state}  {quality}{duration(trial.device_seconds)}{reason}" + (
            f"  ({duration(left)} left)" if left else ""
        )


class _Table(_View):
    """A table of the arms that is kept up to date."""

    def __init__(self, console: Console, state: StudyState, plan: Plan, workers: int) -> None:
        super().__init__(console, state, plan, workers)
        self._live = Live(self._table(), console=console, auto_refresh=False, transient=False)
        self._live.start()
        self._shown = self.began

    def update(self) -> None:
        if time.monotonic() - self._shown > LIVE_SECONDS:
            self._shown = time.monotonic()
            self._live.update(self._table(), refresh=True)

    def close(self) -> None:
        self._live.update(self._table(), refresh=True)
        self._live.stop()

    def _table(self) -> Table:
        left = self.left()
        title = f"{self.state.info.name}: {duration(time.monotonic() - self.began)} so far"
        title += f", about {duration(left)} left" if left else ""
        return arm_table(title, self.state.objective.key, arm_standings(self.state, self.plan))
