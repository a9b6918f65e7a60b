"""What a study or a cohort looks like right now, for a person or a script."""

import json
from pathlib import Path
from typing import Any

from study.config import validate
from study.console import make_console, make_table
from study.journal import is_written, load_state
from study.progress import arm_rows, arm_table, time_left
from study.run import make_plan
from study.units import duration
from trainables.cohort.config import CohortConfig
from trainables.errors import UserError

SHOWN_FAILURES = 10


def show_status(directory: Path, *, as_json: bool = False) -> None:
    """Prints arms, trials by state, device-seconds so far, incumbents and time left. Reads the journal alone."""
    status = study_status(directory)
    if as_json:
        print(json.dumps(status, indent=2))
        return
    console = make_console()
    console.print(arm_table(f"{status['name']}: {status['state']}", status["objective"] or "best", status["arms"]))
    for failure in status["failures"][:SHOWN_FAILURES]:
        console.print(f"{failure['trial']} failed: {failure['reason']}", markup=False)
    if (more := len(status["failures"]) - SHOWN_FAILURES) > 0:
        console.print(f"{more} more trials failed: cov-study status {directory} --json", markup=False)
    left = status["seconds_left"]
    spent = f"{duration(status['device_seconds'])} of device time so far"
    console.print(spent + (f", about {duration(left)} left" if left else ""))
    if status["state"] == "finished":
        console.print(f"Report: {directory / 'report' / 'index.html'}", markup=False)
    if status["state"] == "stopped":
        console.print(f"Go on with: cov-study resume {directory}", markup=False)


def study_status(directory: Path) -> dict[str, Any]:
    """The same as plain values; `state` is `preparing` (no trial has begun), `running`, `stopped` or `finished`."""
    written = is_written(directory)
    if written and not (directory / "journal.jsonl").exists():
        nothing: dict[str, Any] = {
            "objective": None,
            "failures": [],
            "arms": [],
            "device_seconds": 0.0,
            "seconds_left": None,
            "updated": None,
        }
        return {"name": directory.absolute().name, "state": "preparing", **nothing}
    state = load_state(directory)
    if not state.info:
        raise UserError(f"{directory}: its journal is empty; remove the folder and start again with `cov-study run`.")
    plan = make_plan(validate(state.info["config"], str(directory / "study.yaml")), None, state.goals)
    rows = arm_rows(state, plan)
    running = sum(row["running"] for row in rows)
    workers = max(running, 1)
    return {
        "name": state.info["name"],
        "state": "finished" if state.finished else "running" if written else "stopped",
        "objective": state.info["objective"],
        "arms": rows,
        "failures": [
            {"trial": trial.key, "reason": trial.attempts[-1].reason}
            for trial in state.trials.values()
            if trial.state == "failed"
        ],
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
    console = make_console()
    if report.problems:
        rows = [(problem.subject or "(all)", problem.message) for problem in report.problems]
        title = f"{len(rows)} problem(s)"
        console.print(make_table(title, ("subject", "problem"), rows, words=("problem",)))
    notes = [(f"{row['subject']} {row['scan']}".strip(), note) for row in report.rows for note in row.get("notes", ())]
    if notes:
        console.print(make_table(f"{len(notes)} note(s)", ("subject", "note"), notes, words=("note",)))
    for name, value in report.summary.items():
        console.print(f"{name.replace('_', ' ')}: {_plain(value)}", markup=False)
    if sheet is not None:
        console.print(f"contact sheet: {sheet}", markup=False)
    return report.ok


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
