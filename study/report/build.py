"""Builds a study's report from its journal alone."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.record.ledger import write_ledger
from study.record.record import load_state
from study.report.page.publish import swap_in

if TYPE_CHECKING:
    from study.report.figures.style import Drawing
    from study.report.findings.findings import Findings
    from study.report.tables.table import Table


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a report says, in short; a notebook shows the verdict with a link to the page."""

    lines: tuple[str, str]
    """Quality and cost, a line each."""
    page: Path
    """`report/index.html`."""
    summary: dict[str, Any]
    """The content of `summary.json`."""

    def __str__(self) -> str:
        """The verdict, a line for quality and a line for cost."""
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        """The verdict and a link to the page; Jupyter looks for this name."""
        said = "".join(f"<p>{escape(line)}</p>" for line in self.lines)
        return f'{said}<p><a href="{escape(self.page.absolute().as_uri())}">The report</a></p>'


def build_report(directory: Path) -> Report:
    """Writes `report/`, `trials.csv`, `subjects.csv` and `ledger.csv` of a study, running or finished.

    The folder is built beside and then swapped in: there is no moment at which half a report is to be seen. The same
    journal gives the same bytes.

    Args:
        directory: a study's directory, with `journal.jsonl` in it.

    Raises:
        UserError: there is no journal, or it cannot be read.
    """
    state = load_state(directory)
    from study.report.evidence import gather
    from study.report.findings.findings import find
    from study.report.findings.words import put_into_words
    from study.report.page.study import render
    from study.report.summary import summarise

    findings = find(gather(state))
    words = put_into_words(findings)
    summary = summarise(findings, words)
    tables, drawings = make_tables(findings), make_drawings(findings, directory)
    page = render(findings, words, tables, drawings)
    write_ledger(state, directory)
    swap_in(directory / "report", page, summary, tables, drawings)
    return Report(
        lines=words.lines,
        page=directory / "report" / "index.html",
        summary=summary,
    )


def make_tables(findings: "Findings") -> dict[str, "Table | None"]:
    """Every table of every section by its name; None for one that the findings cannot fill."""
    from study.report.sections import SECTIONS
    from study.report.sections.section import gathered

    return gathered(section.tables(findings) for section in SECTIONS)


def make_drawings(findings: "Findings", directory: Path) -> dict[str, "Drawing | None"]:
    """Every figure of every section, likewise; images are read from `checkpoints/` below the directory."""
    from study.report.figures.style import styled
    from study.report.sections import SECTIONS
    from study.report.sections.section import gathered

    with styled():
        return gathered(section.drawings(findings, directory) for section in SECTIONS)
