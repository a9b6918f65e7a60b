"""Where the weights went, and which weights were good."""

from study.report.figures import weight_space, weights
from study.report.sections.section import Section

SECTION = Section(
    name="where",
    title="Where the weights went",
    link="Weights",
    template="weights.html",
    drawings=lambda findings, folder: {
        "weights": weights.draw(findings),
        "weight_space": weight_space.draw(findings),
    },
)
