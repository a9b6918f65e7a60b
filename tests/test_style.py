"""One style of sentences in all three floors and the pages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for floor in ("study", "search_spaces", "trainables")
    for path in sorted((ROOT / floor).rglob("*.py"))
}


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r"from __future__", "names in quotes where an annotation comes before its class"),
        (r"^ *Attributes:$", "a string below each field"),
        (r"^ +Raises:\n +\w+: [A-Z][a-z]", "descriptions that begin in lower case"),
    ],
)
def test_the_house_writes_otherwise(pattern: str, instead: str) -> None:
    assert [name for name, text in SOURCES.items() if re.search(pattern, text, re.MULTILINE)] == [], instead


def test_what_a_user_defines_has_one_name() -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
    other = re.compile(r"parts? of (one|your|their)('s)? own|of one's own|parts from elsewhere")
    assert [name for name, text in (SOURCES | pages).items() if other.search(text)] == []
