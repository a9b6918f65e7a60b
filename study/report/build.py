"""Builds a study's report from its journal alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.journal import load_state
from study.ledger import write_ledger
from study.report.swap import swap_in

if TYPE_CHECKING:
    from study.report.figures.style import Drawing
    from study.report.findings import Findings
    from study.report.table import Table


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a report says, in short."""

    lines: tuple[str, str]
    """Quality and cost, a line each."""
    page: Path
    """`report/index.html`."""
    summary: dict[str, Any]
    """The content of `summary.json`."""


def build_report(directory: Path) -> Verdict:
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
    from study.report.findings import find
    from study.report.page import render
    from study.report.summary import summarise
    from study.report.verdict import put_into_words

    findings = find(gather(state))
    words = put_into_words(findings)
    summary = summarise(findings, words)
    tables, drawings = make_tables(findings), make_drawings(findings, directory)
    page = render(findings, words, tables, drawings)
    write_ledger(state, directory)
    swap_in(directory / "report", page, summary, tables, drawings)
    return Verdict(
        lines=words.lines,
        page=directory / "report" / "index.html",
        summary=summary,
    )


def make_tables(findings: "Findings") -> list["Table"]:
    """All tables that the findings fill."""
    from study.report.comparison_tables import comparison_tables
    from study.report.cost_tables import ledger_table, resources_table, searches_table
    from study.report.tables import results_table

    quality = [results_table(findings, region) for region in ("mask", "volume", "lesion")]
    costs = [searches_table(findings), ledger_table(findings), resources_table(findings)]
    tables = [*quality, *comparison_tables(findings), *costs]
    return [table for table in tables if table is not None]


def make_drawings(findings: "Findings", directory: Path) -> list["Drawing"]:
    """All figures that the findings fill; images are read from `checkpoints/` below the directory."""
    from study.report.figures import (
        cost_quality,
        differences,
        images,
        psnr_ssim,
        timeline,
        tuning,
        weight_space,
        weights,
    )
    from study.report.figures.style import styled

    with styled():
        drawings = [
            cost_quality.draw(findings),
            tuning.draw(findings),
            differences.draw_forest(findings),
            differences.draw_subjects(findings),
            psnr_ssim.draw(findings),
            weights.draw(findings),
            weight_space.draw(findings),
            timeline.draw(findings),
        ]
        if findings.evidence.settings.get("images", True):
            drawings += images.draw(findings, directory)
    return [drawing for drawing in drawings if drawing is not None]
