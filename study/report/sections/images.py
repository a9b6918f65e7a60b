"""Images of three test subjects, where the study keeps any and may show them."""

from pathlib import Path

from study.report.figures import images
from study.report.figures.style import Drawing
from study.report.findings.findings import Findings
from study.report.sections.section import Section, by_name

DRAWINGS = ("images_typical", "images_best", "images_worst")


def _drawings(findings: Findings, folder: Path) -> dict[str, Drawing | None]:
    shown = findings.evidence.settings.get("images", True)
    return by_name(DRAWINGS, images.draw(findings, folder) if shown else [])


SECTION = Section(name="images", title="Images", link="Images", template="images.html", drawings=_drawings)
