"""Sections of the page: a file and a line each, and no name that stands for nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_study import FakeStudy

from study.report.sections.section import by_name, gathered

ROOT = Path(__file__).parents[2]
EXTRA = """
from study.report.sections.section import Section

SECTION = Section(
    name="extra",
    title="A further section",
    link="Further",
    template="extra.html",
    drawings=lambda findings, folder: {"not_here": None},
    values=lambda findings, words: {"arms": len(findings.evidence.arms)},
)
"""
TEMPLATES = {
    "figure": '{% from "macros.html" import figure with context %}{{ figure("cost_qualty") }}',
    "table": '{% from "macros.html" import table with context %}{{ table("reslts") }}',
    "drawing_of": '{% if drawing_of("cost_qualty") %}never{% else %}never{% endif %}',
    "absent": '{% from "macros.html" import figure with context %}[{{ figure("cost_quality")|trim }}]',
}
POUR = """
from study.report.page.html import pour
for name in ("figure", "table", "drawing_of", "absent"):
    try:
        print(pour(name + ".html", {"results": None}, {"cost_quality": None}))
    except LookupError as error:
        print(error.args[0])
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package to work in."""
    shutil.copytree(ROOT / "study", tmp_path / "study", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def _python(copy: Path, code: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(copy), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=copy, env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout


@pytest.mark.slow
def test_a_new_section_is_a_file_with_its_template_and_a_line(copy: Path) -> None:
    folder = copy / "study" / "report" / "sections"
    (folder / "extra.py").write_text(EXTRA)
    (folder / "extra.html").write_text('  {{ figure("not_here") }}\n  <p>It has {{ own.arms|count("arm") }}.</p>\n')
    listed = (
        (folder / "__init__.py").read_text().replace("    cost.SECTION,\n", "    cost.SECTION,\n    extra.SECTION,\n")
    )
    (folder / "__init__.py").write_text(listed.replace("import cost, ", "import cost, extra, "))
    bare = FakeStudy(tuned_arms=(), automatic_arms=(), single_arms=False, images=False, epochs=2, num_subjects=3)
    bare.write(copy / "bare")
    _python(copy, "from pathlib import Path; from study.report.build import build_report; build_report(Path('bare'))")
    page = (copy / "bare" / "report" / "index.html").read_text(encoding="utf-8")
    assert '<a href="#cost">Cost</a>\n    <a href="#extra">Further</a>\n    <a href="#tuning">' in page
    section = page[page.index('<section id="extra" aria-labelledby="extra-h">') : page.index('<section id="tuning"')]
    assert '<h2 id="extra-h">A further section</h2>' in section
    assert "<p>It has 1 arm.</p>" in section
    assert "<figure" not in section


def test_a_name_that_no_section_makes_is_an_error_and_one_without_content_is_not(copy: Path) -> None:
    for name, text in TEMPLATES.items():
        (copy / "study" / "report" / "sections" / f"{name}.html").write_text(text)
    assert _python(copy, POUR).splitlines() == [
        "no section makes a drawing 'cost_qualty'; did you mean 'cost_quality'?",
        "no section makes a table 'reslts'; did you mean 'results'?",
        "no section makes a drawing 'cost_qualty'; did you mean 'cost_quality'?",
        "[]",
    ]


def test_what_is_called_otherwise_than_its_section_says_is_an_error() -> None:
    item = SimpleNamespace(name="weights")
    assert gathered([{"weights": item}, by_name(["images"], [None])]) == {"weights": item, "images": None}
    with pytest.raises(ValueError, match="calls 'weight' what calls itself 'weights'"):
        gathered([{"weight": item}])
    with pytest.raises(ValueError, match="are called 'weights'"):
        gathered([{"weights": item}, {"weights": None}])
