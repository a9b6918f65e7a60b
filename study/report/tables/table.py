"""A table, and how it is written: CSV, Markdown and LaTeX (the page's template does HTML)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from study.report.formats import clean

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "±": r"$\pm$", "×": r"$\times$", "\N{MINUS SIGN}": "$-$",
    "\N{NARROW NO-BREAK SPACE}": r"\,", "–": "--", "…": r"\dots{}", "’": "'", "·": r"\textperiodcentered{}",
}  # fmt: skip


Row = tuple[str, Mapping[str, str], Mapping[str, Any]]
"""Heading, cells for reading, numbers."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for reading (`shown`, text) and for computing (`values`, numbers), with the best cells marked."""

    name: str
    """File stem; a constant of this program."""
    caption: str
    shown: pd.DataFrame
    """Index: the row headings."""
    values: pd.DataFrame
    best: pd.DataFrame
    """True where a cell is the best of its column; same shape as `shown`."""
    footnote: str = ""

    def rows(self) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
        """Each row's heading, and its cells with whether they are best: what the page's template needs."""
        for heading, cells, best in zip(self.shown.index, self.shown.values, self.best.values, strict=True):
            yield heading, list(zip(cells, best, strict=True))

    def csv(self) -> str:
        """The numbers, unrounded."""
        return self.values.rename(index=clean).to_csv(lineterminator="\n")

    def markdown(self) -> str:
        """A pipe table; the best cells in bold."""
        rows = [[self.shown.index.name or "", *self.shown.columns], ["---", *["---:"] * self.shown.shape[1]]]
        for heading, cells in self.rows():
            rows.append([heading, *(f"**{cell}**" if best else cell for cell, best in cells)])
        lines = ["| " + " | ".join(_markdown(str(cell)) for cell in row) + " |" for row in rows]
        return "\n".join([_markdown(self.caption), "", *lines, "", _markdown(self.footnote)]).rstrip() + "\n"

    def latex(self) -> str:
        """A `table` environment for `booktabs`; compiles with pdfLaTeX whatever the names are."""
        frame = self.shown.map(latex).rename(index=latex, columns=latex)
        frame.index.name = None
        marks = self.best.map(lambda best: "font-weight: bold" if best else "").set_axis(frame.index)
        style = frame.style.apply(lambda _: marks.set_axis(frame.columns, axis=1), axis=None)
        body = style.to_latex(hrules=True, convert_css=True, column_format="l" + "r" * frame.shape[1])
        lines = ["% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering", r"\small"]
        lines += [rf"\caption{{{latex(self.caption)}}}", rf"\label{{tab:{self.name.replace('_', '-')}}}", body.strip()]
        if self.footnote:
            lines.append(rf"\par\smallskip {{\footnotesize {latex(self.footnote)}}}")
        return "\n".join([*lines, r"\end{table}"]) + "\n"


def latex(text: str) -> str:
    """Text as pdfLaTeX prints it: special characters escaped, characters its fonts lack as question marks."""
    characters = (LATEX.get(c) or (c if ord(c) < 0x180 else "?") for c in clean(text))
    return "".join(characters)


def _markdown(text: str) -> str:
    escaped = clean(text).replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`")
    return escaped.replace("<", "&lt;").replace(">", "&gt;").replace("[", "\\[")


def plain_table(
    name: str,
    caption: str,
    rows: Sequence[Row],
    footnote: str,
    *,
    simulated: bool,
    index: str = "Arm",
) -> Table:
    """A table from rows of (heading, cells for reading, numbers), none of them marked as best."""
    headings = pd.Index(unique([heading for heading, _, _ in rows]), name=index)
    shown = pd.DataFrame([dict(cells) for _, cells, _ in rows], index=headings).fillna("–")
    return Table(
        name=name,
        caption=f"{caption} Simulated cohort." if simulated else caption,
        shown=shown,
        values=pd.DataFrame([dict(numbers) for _, _, numbers in rows], index=headings),
        best=pd.DataFrame(False, index=headings, columns=shown.columns),
        footnote=footnote,
    )


def unique(headings: Sequence[str]) -> list[str]:
    """The cleaned headings; names that cleaning made equal are numbered, since rows are found by them."""
    seen: dict[str, int] = {}
    unique = []
    for heading in map(clean, headings):
        seen[heading] = seen.get(heading, 0) + 1
        unique.append(heading if seen[heading] == 1 else f"{heading} ({seen[heading]})")
    return unique


def write_tables(tables: Sequence[Table], folder: Path) -> None:
    """Writes each table as CSV, Markdown and LaTeX."""
    for table in tables:
        for suffix, text in (("csv", table.csv()), ("md", table.markdown()), ("tex", table.latex())):
            (folder / f"{table.name}.{suffix}").write_text(text, encoding="utf-8", newline="\n")
