"""What a person sees while a study runs: one live table on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from study.console import make_console, make_table
from study.objective import Objective
from study.plan import Plan
from study.state import StudyState, Trial
from study.units import duration

LIVE_SECONDS = 0.5
LINE_SECONDS = 30.0


class Progress:
    """Shows how far a study has come.

    Args:
        console: where to; a terminal gets a live table, anything else a line whenever a trial ends.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or make_console(sys.stderr)
        self._live: Live | None = None
        self._shown = 0.0
        self._told: set[str] = set()

    def say(self, line: str) -> None:
        """One line, above the table if there is one. Nobody reading any more is no reason to end a study."""
        with suppress(SystemExit):  # rich's answer to a closed pipe
            self._console.print(line, markup=False, highlight=False)

    @contextmanager
    def live(self, state: StudyState, plan: Plan, workers: int) -> Iterator[None]:
        """Shows `state` for as long as trials run."""
        self._state, self._plan, self._workers = state, plan, workers
        self._began = time.monotonic()
        self._told = {key for key, trial in state.trials.items() if trial.state not in ("waiting", "running")}
        total = plan.num_trials
        self.say(f"Trials: {total if total else 'as many as the budget allows'}, {workers} at a time")
        if not self._console.is_terminal:
            yield
            self._tell_lines()
            return
        with Live(self._table(), console=self._console, auto_refresh=False, transient=False) as self._live:
            yield
            self._live.update(self._table(), refresh=True)
        self._live = None

    def tick(self) -> None:
        """Called often; shows what is new now and then."""
        if self._live is None:
            self._tell_lines()
        elif time.monotonic() - self._shown > LIVE_SECONDS:
            self._shown = time.monotonic()
            self._live.update(self._table(), refresh=True)

    def _tell_lines(self) -> None:
        for key, trial in self._state.trials.items():
            if key in self._told or trial.state in ("waiting", "running"):
                continue
            self._told.add(key)
            self.say(self._line(trial))

    def _line(self, trial: Trial) -> str:
        total = self._plan.num_trials
        count = f"[{len(self._told)}/{total}]" if total else f"[{len(self._told)}]"
        objective = objective_of(self._state)
        value = objective.value(trial)
        quality = "" if value is None else f"{objective.key} {value:.4g}  "
        reason = f"  {trial.attempts[-1].reason}" if trial.state == "failed" and trial.attempts[-1].reason else ""
        left = time_left(self._state, self._plan, self._workers)
        return f"{count} {trial.key}  {trial.state}  {quality}{duration(trial.device_seconds)}{reason}" + (
            f"  ({duration(left)} left)" if left else ""
        )

    def _table(self) -> Table:
        rows = arm_rows(self._state, self._plan)
        left = time_left(self._state, self._plan, self._workers)
        title = f"{self._state.info.get('name', 'study')}: {duration(time.monotonic() - self._began)} so far"
        return arm_table(
            title + (f", about {duration(left)} left" if left else ""), objective_of(self._state).key, rows
        )


def objective_of(state: StudyState) -> Objective:
    """What a study selects by."""
    return Objective(name=state.info["objective"].removeprefix("val/"), goal=state.info["goal"])


def arm_rows(state: StudyState, plan: Plan) -> list[dict[str, Any]]:
    """One row an arm: trials by state, best validated value, incumbent, device-seconds."""
    objective = objective_of(state)
    rows = []
    for arm in plan.arms:
        trials = state.of_arm(arm.name)
        # A confirmation is the incumbent trained again, not a rival of it.
        best = objective.incumbent([trial for trial in trials if trial.role != "confirmation"])
        counts = {name: sum(t.state == name for t in trials) for name in ("running", "failed", "pruned")}
        rows.append(
            {
                "arm": arm.name,
                "planned": plan.num_trials_of(arm),
                "done": sum(t.state in ("complete", "pruned", "failed") for t in trials),
                **counts,
                "best": None if best is None else objective.value(best),
                "incumbent": None if best is None else best.key,
                "device_seconds": sum(t.device_seconds for t in trials),
            }
        )
    return rows


def arm_table(title: str, objective: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """What `arm_rows` found, as a table."""
    counts = ("running", "pruned", "failed")
    cells = [
        (
            row["arm"],
            f"{row['done']}/{row['planned']}" if row["planned"] else str(row["done"]),
            *(str(row[name] or "") for name in counts),
            "" if row["best"] is None else f"{row['best']:.4g}",
            duration(row["device_seconds"]),
            row["incumbent"] or "",
        )
        for row in rows
    ]
    columns = ("arm", "done", *counts, objective, "device time", "incumbent")
    return make_table(title, columns, cells, words=("incumbent",))


def time_left(state: StudyState, plan: Plan, workers: int) -> float | None:
    """Seconds until the plan is done, from what finished trials took; None while that is unknown."""
    done = [t for t in state.trials.values() if t.state == "complete"]
    if not done or plan.num_trials is None:
        return None
    mean_seconds = sum((t.attempts[-1].ended or 0) - t.attempts[-1].started for t in done) / len(done)
    closed = sum(t.state in ("complete", "failed", "pruned") for t in state.trials.values())
    spent = sum(
        min(mean_seconds, state.clock - t.attempts[-1].started) for t in state.trials.values() if t.state == "running"
    )
    return max(0.0, (plan.num_trials - closed) * mean_seconds - spent) / workers
