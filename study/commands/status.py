"""`cov-study status`: where a study stands, for a person or a script."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from study.commands.options import AsJson, Directory

if TYPE_CHECKING:
    from study.study import StudyStatus

SHOWN_FAILURES = 10


def status(directory: Directory, as_json: AsJson = False) -> None:
    """Arms, trials by state, device time, incumbents and time left; works while the study runs."""
    from study.study import Study

    found = Study.open(directory).status()
    if as_json:
        print(json.dumps(asdict(found), indent=2))
    else:
        _show(found, directory)


def _show(found: "StudyStatus", directory: Path) -> None:
    from study.commands.console import arm_table, make_console
    from study.commands.units import duration

    console = make_console()
    console.print(arm_table(f"{found.name}: {found.state}", found.objective or "best", found.arms))
    for failure in found.failures[:SHOWN_FAILURES]:
        console.print(f"{failure.trial} failed: {failure.reason}", markup=False)
    if (more := len(found.failures) - SHOWN_FAILURES) > 0:
        console.print(f"{more} more trials failed: cov-study status {directory} --json", markup=False)
    left = found.seconds_left
    spent = f"{duration(found.device_seconds)} of device time so far"
    console.print(spent + (f", about {duration(left)} left" if left else ""))
    if found.state == "finished":
        console.print(f"Report: {directory / 'report' / 'index.html'}", markup=False)
    if found.state == "stopped":
        console.print(f"Go on with: cov-study resume {directory}", markup=False)
