"""The page of a study: findings, tables and drawings poured into one self-contained HTML file."""

from collections.abc import Mapping

from study.report.figures.style import Drawing
from study.report.findings.findings import Findings
from study.report.findings.words import Words
from study.report.page.html import pour
from study.report.sections import SECTIONS
from study.report.tables.table import Table


def render(
    findings: Findings, words: Words, tables: Mapping[str, Table | None], drawings: Mapping[str, Drawing | None]
) -> str:
    """The whole page. Of tables and drawings it gets every name; None stands for what this study lacks."""
    return pour(
        "page.html",
        tables,
        drawings,
        sections=SECTIONS,
        evidence=findings.evidence,
        findings=findings,
        words=words,
    )
