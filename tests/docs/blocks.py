"""What the documentation shows to be typed: code blocks of a page, the commands in them, and how each can be tested.

A comment before a block says why a test cannot simply run it:

    <!-- parsed only: WHY -->   its commands are parsed, with all options, and not run
    <!-- stays up: PORT -->     a server: the script of the tutorial waits until it answers, then ends it
    <!-- elsewhere: FILE -->    the tests of this file run it; the script of the tutorial does, too
    <!-- install -->            makes an environment; left out where there is one already
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MARKER = re.compile(r"<!-- (parsed only|stays up|elsewhere|install)(?:: (.*?))? -->")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A code block of a page."""

    page: Path
    line: int
    language: str
    title: str | None
    """Of a block that is a file: its name."""
    marker: str | None
    note: str
    text: str

    @property
    def where(self) -> str:
        """For a person: page and line."""
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command line, as words."""

    words: tuple[str, ...]
    block: Block


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page, in order."""
    marker, note = None, ""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "html_block":
            found = MARKER.fullmatch(token.content.strip())
            if found is None:
                raise ValueError(f"{page.name}: no test knows the comment {token.content.strip()}")
            marker, note = found[1], found[2] or ""
            if marker == "elsewhere" and not (ROOT / note).exists():
                raise ValueError(f"{page.name}: there is no {note}")
        elif token.type in ("fence", "code_block"):
            title = re.search(r'title="(.+?)"', token.info)
            yield Block(
                page=page,
                line=token.map[0] + 1,
                language=token.info.split()[0] if token.info else "bash" if token.type == "code_block" else "",
                title=title and title[1],
                marker=marker,
                note=note,
                text=token.content,
            )
            marker, note = None, ""


def commands(page: Path, program: str = "cov-study") -> Iterator[Command]:
    """The lines of a page's shell blocks that start `program`."""
    for block in blocks(page):
        if block.language in ("bash", "sh", "console", ""):
            for line in block.text.replace("\\\n", " ").splitlines():
                words = tuple(shlex.split(line, comments=True)) if line.startswith(f"{program} ") else ()
                if words:
                    yield Command(words=words, block=block)


def mentioned(page: Path) -> Iterator[str]:
    """The commands that a page's prose mentions."""
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            if child.type == "code_inline" and child.content.startswith("cov-study "):
                yield child.content
