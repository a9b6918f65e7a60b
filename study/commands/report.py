"""`cov-study report` and `compare`: the pages of one study, and of several."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study.commands.options import Directory

if TYPE_CHECKING:
    from study.report.build import Report
    from study.study import Study


def report(directory: Directory) -> None:
    """Rebuild report/ and the CSV files from the journal alone."""
    from study.study import Study

    study = Study.open(directory)
    built = study.report()
    say_edits(study)
    say_verdict(built)


def compare(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR DIR...", help="Finished studies.")],
    out: Annotated[Path, typer.Option(help="Folder of the comparison.")] = Path("comparison"),
) -> None:
    """Several studies side by side in one report; refuses what is not comparable, and says why."""
    from study.report.comparison.build import compare_studies

    print(compare_studies([directory.absolute() for directory in directories], out.absolute()))


def say_edits(study: "Study") -> None:
    """Says what was edited in `study.yaml` and does not count."""
    for line in study.edits():
        print(line, file=sys.stderr)


def say_verdict(report: "Report") -> None:
    """Prints the verdict and where its page is."""
    for line in report.lines:
        print(line)
    print(report.page)
