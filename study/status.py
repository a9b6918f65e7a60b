"""What a study or a cohort looks like right now, for a person or a script."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from study.config import validate
from study.journal import load_state
from study.progress import arm_rows, time_left
from study.run import make_plan
from study.units import duration
from trainables.cohort.config import CohortConfig


def show_status(directory: Path, *, as_json: bool = False) -> None:
    """Prints arms, trials by state, device-seconds so far, incumbents and time left. Reads the journal alone."""
    status = study_status(directory)
    if as_json:
        print(json.dumps(status, indent=2))
        return
    console = Console(soft_wrap=True)
    table = Table(title=f"{status['name']}: {status['state']}", title_justify="left")
    for column in (
        "arm",
        "done",
        "running",
        "pruned",
        "failed",
        status["objective"],
        "incumbent",
        "device time",
    ):
        table.add_column(column)
    for row in status["arms"]:
        done = f"{row['done']}/{row['planned']}" if row["planned"] else str(row["done"])
        best = "" if row["best"] is None else f"{row['best']:.4g}"
        counts = (str(row[name] or "") for name in ("running", "pruned", "failed"))
        table.add_row(row["arm"], done, *counts, best, row["incumbent"] or "", duration(row["device_seconds"]))
    console.print(table)
    left = status["seconds_left"]
    console.print(
        f"{duration(status['device_seconds'])} of device time so far"
        + (f", about {duration(left)} left" if left else "")
    )


def study_status(directory: Path) -> dict[str, Any]:
    """The same as plain values."""
    state = load_state(directory)
    plan = make_plan(validate(state.info["config"], str(directory / "study.yaml")), None, state.goals)
    rows = arm_rows(state, plan)
    running = sum(row["running"] for row in rows)
    workers = max(running, 1)
    return {
        "name": state.info["name"],
        "state": "finished" if state.finished else "running" if running else "stopped",
        "objective": state.info["objective"],
        "arms": rows,
        "device_seconds": sum(row["device_seconds"] for row in rows),
        "seconds_left": None if state.finished else time_left(state, plan, workers),
        "updated": state.updated,
    }


def show_check(path: Path, config: CohortConfig, *, as_json: bool = False, sheet: Path | None = None) -> bool:
    """Prints every problem of every subject and a summary, and writes the contact sheet. True if all is well."""
    from trainables.cohort.check import check
    from trainables.cohort.contact_sheet import contact_sheet

    report = check(path, config)
    if sheet is not None:
        contact_sheet(report, sheet)
    if as_json:
        problems = [{"subject": p.subject, "problem": p.message} for p in report.problems]
        print(json.dumps({"problems": problems, "summary": report.summary, "subjects": list(report.rows)}, indent=2))
        return report.ok
    console = Console(soft_wrap=True)
    if report.problems:
        table = Table(title=f"{len(report.problems)} problem(s)", title_justify="left", show_lines=True)
        table.add_column("subject", no_wrap=True)
        table.add_column("problem", overflow="fold")
        for problem in report.problems:
            table.add_row(escape(problem.subject or "(all)"), escape(problem.message))
        console.print(table)
    for name, value in report.summary.items():
        console.print(f"{name.replace('_', ' ')}: {_plain(value)}", markup=False, highlight=False)
    if sheet is not None:
        console.print(f"contact sheet: {sheet}", markup=False, highlight=False)
    return report.ok


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
