import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from study.record.record import load_state
from study.report.build import Report, build_report, make_tables
from study.report.evidence import gather
from study.report.findings.findings import find
from study.report.findings.words import put_into_words
from study.report.page.study import render
from study.report.summary import summarise

sys.path.insert(0, str(Path(__file__).parent))

from fake_study import FakeStudy


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with images, its report built. Read it, do not change it."""
    directory = FakeStudy().write(tmp_path_factory.mktemp("whole") / "study")
    build_report(directory)
    return directory


@dataclass
class Words:
    """What a page says, without its figures, which take most of the time."""

    summary: dict[str, Any]
    page: str


@pytest.fixture
def say(tmp_path: Path) -> Callable[[FakeStudy], Words]:
    """Writes a study and puts it into words and tables."""

    def make(fake: FakeStudy) -> Words:
        findings = find(gather(load_state(fake.write(tmp_path / "study"))))
        words = put_into_words(findings)
        return Words(
            summarise(findings, words), render(findings, words, make_tables(findings), defaultdict(lambda: None))
        )

    return make


@pytest.fixture
def build(tmp_path: Path) -> Callable[[FakeStudy], Report]:
    """Writes a study and builds its report."""
    return lambda fake: build_report(fake.write(tmp_path / "study"))
