"""What a study or a cohort looks like right now, for a person or a script."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from study.config import validate
from study.journal import load_state
from study.progress import arm_rows, time_left
from study.run import make_plan
from study.units import duration


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
    plan = make_plan(validate(state.info["config"], str(directory / "study.yaml")), None)
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
