"""Several studies side by side, by the same definitions."""

from collections.abc import Sequence
from pathlib import Path

from study.report.comparison.compared import Compared, compared
from study.report.comparison.figures import draw_costs, draw_differences
from study.report.comparison.tables import arm_tables, verdict_tables
from study.report.figures.style import styled
from study.report.formats import QUANTITIES, count
from study.report.page.html import pour
from study.report.page.publish import swap_in
from study.report.summary import summarise


def compare_studies(directories: Sequence[Path], out: Path) -> Path:
    """Writes `index.html`, `summary.json`, tables and figures of several studies into `out`, and names the page.

    Args:
        directories: of two or more studies; their order is kept.
        out: folder to write, replaced if it is there.

    Raises:
        UserError: fewer than two studies, one has no journal, or they are not comparable; says why.
    """
    studies = compared(directories)
    tables = {table.name: table for table in [*verdict_tables(studies), *arm_tables(studies)]}
    with styled():
        drawings = {"study_differences": draw_differences(studies), "study_costs": draw_costs(studies)}
    page = pour("compare.html", tables, drawings, studies=studies, verdict=_verdict(studies))
    summary = {"studies": [summarise(s.findings, s.words) | {"label": s.label} for s in studies]}
    swap_in(out, page, summary, tables, drawings)
    return out / "index.html"


def _verdict(studies: Sequence[Compared]) -> str:
    """In how many of the studies the candidate held its own, metric by metric."""
    parts = []
    for metric, quantity in QUANTITIES.items():
        judged = [s.findings.decisive[metric].verdict for s in studies if metric in s.findings.decisive]
        if judged:
            good = sum(verdict in ("superior", "non-inferior") for verdict in judged)
            parts.append(f"in {quantity.label} in {good} of {count(len(judged), 'study', 'studies')}")
    if not parts:
        return "None of these studies has a verdict yet."
    return f"The automatic arm is better or non-inferior {'; '.join(parts)}."
