"""Tables and lines for a person: on a terminal of any width, and whole in a pipe or a file."""

from collections.abc import Sequence
from typing import IO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from study.commands.units import duration
from study.planning.standing import ArmStanding

PIPE_WIDTH = 1000
"""Columns of what is no terminal: no line is folded there."""


def make_console(file: IO[str] | None = None) -> Console:
    """A rich console; it leaves colours out where there is no terminal and where NO_COLOR is set."""
    console = Console(file=file, soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def make_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[str] = ()
) -> Table:
    """A table whose columns are numbers, but for the first and those in `words`.

    Columns that are empty in all rows are left out, and what does not fit is folded, never cut.
    """
    kept = [i for i in range(len(columns)) if i == 0 or any(row[i] for row in rows)]
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for i in kept:
        is_text = i == 0 or columns[i] in words
        table.add_column(columns[i], justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    for row in rows:
        table.add_row(*(escape(row[i]) for i in kept))
    return table


def arm_table(title: str, objective: str, arms: Sequence[ArmStanding]) -> Table:
    """The arms of a study, a row each."""
    cells = [
        (
            arm.arm,
            f"{arm.done}/{arm.planned}" if arm.planned else str(arm.done),
            *(str(count or "") for count in (arm.running, arm.pruned, arm.failed)),
            "" if arm.best is None else f"{arm.best:.4g}",
            duration(arm.device_seconds),
            arm.incumbent or "",
        )
        for arm in arms
    ]
    columns = ("arm", "done", "running", "pruned", "failed", objective, "device time", "incumbent")
    return make_table(title, columns, cells, words=("incumbent",))
