"""The ledger: what every arm paid, when each trial ran, and what a training uses."""

from study.report.figures import timeline
from study.report.sections.section import Section
from study.report.tables.costs import ledger_table, resources_table

SECTION = Section(
    name="ledger",
    title="The ledger",
    link="Ledger",
    template="ledger.html",
    tables=lambda findings: {"ledger": ledger_table(findings), "resources": resources_table(findings)},
    drawings=lambda findings, folder: {"timeline": timeline.draw(findings)},
)
