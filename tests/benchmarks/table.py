"""Rows of the table of benchmarks, and how two candidates are raced against each other."""

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from study.record.environment import git_revision, hardware, versions
from trainables.files import write_text


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure. Most are ratios of two times taken side by side; `None` where there was nothing to measure on."""

    what: str
    value: float | None
    unit: str = "x"
    at_least: float | None = None
    at_most: float | None = None
    detail: str = ""
    """What the ratio is made of, with units, or why there is none."""
    figures: dict[str, Any] = field(default_factory=dict)
    """The numbers behind it, for the JSON."""

    @property
    def goal(self) -> str:
        """The bar, in words; empty where there is none."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None without one."""
        if self.value is None or not self.goal:
            return None
        return self.value >= self.at_least if self.at_least is not None else self.value <= (self.at_most or 0)


Times = dict[str, list[float]]
"""Seconds of every candidate in every round."""


def race(
    candidates: dict[str, Callable[[], Any]],
    num_rounds: int,
    *,
    num_warm: int = 0,
    clock: Callable[[], float] = time.process_time,
) -> Times:
    """Times all candidates in turn, round after round, in an order that changes: a busy machine slows all alike.

    Args:
        candidates: what to call, by name.
        num_rounds: how often each is timed.
        num_warm: how often each is called before.
        clock: by default the process's CPU time, so that waiting for a processor does not count.
    """
    for candidate in candidates.values():
        for _ in range(num_warm):
            candidate()
    seconds: Times = {name: [] for name in candidates}
    order = list(candidates)
    for _ in range(num_rounds):
        random.shuffle(order)
        for name in order:
            start = clock()
            candidates[name]()
            seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Times, one: str, other: str) -> float:
    """Median over the rounds of the ratio of two candidates in the same round."""
    return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))


def milliseconds(seconds: Times, name: str) -> float:
    """Median over the rounds."""
    return 1e3 * statistics.median(seconds[name])


def write(path: Path, rows: Iterable[Row], quick: bool) -> None:
    """The rows as JSON, with the machine and the versions they were measured on."""
    told = {
        "machine": hardware({}),
        "versions": versions(),
        "git_revision": git_revision(),
        "quick": quick,
        "load_average": os.getloadavg(),
        "rows": [asdict(row) | {"goal": row.goal, "met": row.met} for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(told, indent=2))


def show(rows: Iterable[Row]) -> None:
    """Prints the table under the name of the machine."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    machine = hardware({})
    table = Table(title=f"{machine['cpu']}, {machine['num_cpus']} CPUs, {machine['system']}", title_justify="left")
    table.add_column("row")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("goal", no_wrap=True)
    table.add_column("")
    table.add_column("made of")
    for row in rows:
        value = "" if row.value is None else f"{row.value:.4g} {row.unit}"
        met = {True: "met", False: "missed", None: ""}[row.met]
        table.add_row(row.what, value, row.goal, met, row.detail)
    console.print(table)
