"""Quality and what it cost, in one figure."""

from study.report.figures import cost_quality
from study.report.sections.section import Section

SECTION = Section(
    name="cost",
    title="Quality and what it cost",
    link="Cost",
    template="cost.html",
    drawings=lambda findings, folder: {"cost_quality": cost_quality.draw(findings)},
)
