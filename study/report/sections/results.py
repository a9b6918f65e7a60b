"""The table of results: every arm and baseline, its quality and its cost."""

from study.report.sections.section import Section
from study.report.tables.results import results_table

SECTION = Section(
    name="results",
    title="Results",
    link="Results",
    template="results.html",
    tables=lambda findings: {
        "results": results_table(findings),
        "results_volume": results_table(findings, "volume"),
        "results_lesion": results_table(findings, "lesion"),
    },
)
