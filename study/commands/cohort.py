"""`cov-study cohort`: simulate a cohort, or check one before it is used."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study.commands.options import AsJson, Override
from trainables.errors import UserError
from trainables.task import JSON

if TYPE_CHECKING:
    from trainables.cohort.check import CohortReport


def simulate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    subjects: Annotated[int, typer.Option(help="How many.")] = 80,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    resolution: Annotated[float, typer.Option(help="Voxel size in mm.")] = 2.0,
) -> None:
    """Write a virtual cohort as NIfTI in BIDS layout."""
    from pydantic import ValidationError

    from trainables.cohort.virtual import VirtualCohortConfig, simulate_cohort

    try:
        config = VirtualCohortConfig(num_subjects=subjects, seed=seed, resolution=resolution)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise UserError(f"--{problem['loc'][0]}: {problem['msg']}".replace("num_subjects", "subjects")) from None
    print(simulate_cohort(directory, config))


def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A BIDS folder or a CSV manifest.")],
    config: Annotated[Path | None, typer.Option(help="A study's configuration, for its patterns.")] = None,
    override: Override = None,
    sheet: Annotated[
        Path, typer.Option(help="Where the contact sheet goes: middle slices of source, target, difference.")
    ] = Path("contact-sheet.png"),
    as_json: AsJson = False,
) -> None:
    """Every problem of every subject; exit status 1 if there is one."""
    from study.settings.reading import load_config
    from trainables.cohort.check import check as look_at
    from trainables.cohort.contact_sheet import contact_sheet

    settings = load_config(config, overrides=list(override or ()))
    report = look_at(path, settings.cohort.prepare)
    contact_sheet(report, sheet)
    if as_json:
        problems = [{"subject": p.subject, "problem": p.message} for p in report.problems]
        left_out = [{"folder": one.subject, "what": one.message} for one in report.left_out]
        found = {"problems": problems, "left_out": left_out, "summary": report.summary, "subjects": list(report.rows)}
        print(json.dumps(found, indent=2))
    else:
        _show(report, sheet)
    if not report.ok:
        sys.exit(1)


def _show(report: "CohortReport", sheet: Path) -> None:
    from study.commands.console import make_console, make_table

    console = make_console()
    if report.problems:
        rows = [(problem.subject or "(all)", problem.message) for problem in report.problems]
        console.print(make_table(f"{len(rows)} problem(s)", ("subject", "problem"), rows, words=("problem",)))
    if report.left_out:
        rows = [(one.subject, one.message) for one in report.left_out]
        title = f"{len(rows)} folder(s) without a pair, left out"
        console.print(make_table(title, ("folder", "what"), rows, words=("what",)))
    notes = [(f"{row['subject']} {row['scan']}".strip(), note) for row in report.rows for note in row.get("notes", ())]
    if notes:
        console.print(make_table(f"{len(notes)} note(s)", ("subject", "note"), notes, words=("note",)))
    for name, value in report.summary.items():
        console.print(f"{name.replace('_', ' ')}: {_plain(value)}", markup=False)
    console.print(f"contact sheet: {sheet}", markup=False)


def _plain(value: JSON) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
