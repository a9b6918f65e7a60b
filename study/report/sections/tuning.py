"""What tuning bought: the curve of the searches, and what each search found."""

from study.report.figures import tuning
from study.report.sections.section import Section
from study.report.tables.costs import searches_table

SECTION = Section(
    name="tuning",
    title="What tuning bought",
    link="Tuning",
    template="tuning.html",
    tables=lambda findings: {"searches": searches_table(findings)},
    drawings=lambda findings, folder: {"tuning_curve": tuning.draw(findings)},
)
