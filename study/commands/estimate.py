"""`cov-study estimate`: what a study will take, as a table."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from study.commands.options import AsJson, CohortPath, Config, Out, Override, Preset, read_config

if TYPE_CHECKING:
    from study.engine.estimate import Estimate


def estimate(
    config: Config = None,
    preset: Preset = None,
    cohort: CohortPath = None,
    out: Out = None,
    override: Override = None,
    as_json: AsJson = False,
) -> None:
    """Time a few real steps and say device-hours, makespan and disk of the whole plan, before anything is spent."""
    from study.commands.progress import Progress
    from study.study import Study

    settings = read_config(config, preset, cohort, override)
    study = Study.create(out or Path("runs") / settings.name, settings)
    found = study.estimate(say=Progress().say)
    if as_json:
        print(json.dumps(asdict(found), indent=2))
    else:
        _show(found)


def _show(found: "Estimate") -> None:
    from study.commands.console import make_console, make_table
    from study.commands.units import duration, size

    console = make_console()
    rows = [
        (row.arm, str(row.num_trials), f"{row.step_seconds * 1000:.3g}", duration(row.device_seconds))
        for row in found.arms
    ]
    rows.append(("all", str(found.num_trials), "", duration(found.device_seconds)))
    title = f"{found.name} on {found.device}"
    console.print(make_table(title, ("arm", "trials", "ms a step", "device time"), rows))
    disk, hours = found.disk, found.device_seconds / 3600
    kinds = ", ".join(f"{kind} {size(disk[kind])}" for kind in ("images", "prepared", "checkpoints", "models"))
    for line in (
        f"{f'{hours:.3g}' if hours >= 0.01 else 'less than 0.01'} device-hours, about "
        f"{duration(found.makespan_seconds)} with {found.workers} trial(s) at a time; trials that share a "
        "machine's memory slow each other a little.",
        f"Disk: {size(disk['total'])} ({kinds}); {size(disk['free'])} are free.",
    ):
        console.print(line, markup=False)
