"""A section of a study's page: its place in the navigation, its tables and figures, and its template."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from study.report.figures.style import Drawing
from study.report.findings.findings import Findings
from study.report.findings.words import Words
from study.report.tables.table import Table


class Named(Protocol):
    """A table or a drawing: it knows what its file is called."""

    @property
    def name(self) -> str: ...


Item = TypeVar("Item", bound=Named)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section. It has a file of its own, a template beside that, and a line in `SECTIONS`.

    The template may use `figure(name)` and `table(name)`, which show nothing where this study lacks the thing;
    `drawing_of(name)` and `table_of(name)`, to ask whether it does; `findings`, `evidence` and `words`; and `own`, what
    `values` returned. A name that no section makes is an error.
    """

    name: str
    """Its anchor in the page's address: `#results`."""
    title: str
    template: str
    """File name, beside this module."""
    link: str | None = None
    """Its word in the navigation; None for a section that is not listed there."""
    tables: Callable[[Findings], Mapping[str, Table | None]] = lambda findings: {}
    """Every table of the section by its name; None for one that this study cannot fill."""
    drawings: Callable[[Findings, Path], Mapping[str, Drawing | None]] = lambda findings, folder: {}
    """Every figure of the section by its name, likewise. The folder is the study's, for images."""
    values: Callable[[Findings, Words], Mapping[str, Any]] = lambda findings, words: {}
    """What else the template prints."""


def by_name(names: Iterable[str], made: Iterable[Item | None]) -> dict[str, Item | None]:
    """What was made, by name, and None for every other of the names."""
    return dict.fromkeys(names) | {item.name: item for item in made if item is not None}


def gathered(parts: Iterable[Mapping[str, Item | None]]) -> dict[str, Item | None]:
    """The tables, or the drawings, of all sections.

    Raises:
        ValueError: two have one name, or one is called otherwise than its section says.
    """
    together: dict[str, Item | None] = {}
    for part in parts:
        for name, item in part.items():
            if name in together:
                raise ValueError(f"two tables or drawings are called {name!r}; their files would replace one another")
            if item is not None and item.name != name:
                raise ValueError(f"a section calls {name!r} what calls itself {item.name!r}")
            together[name] = item
    return together
