"""Tables beside the images, as they come: comma, semicolon or tab, with a header."""

import csv
import difflib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from trainables.errors import UserError

SPLITS = ("train", "validation", "test")
_MISSING = ("", "n/a", "N/A")
_TO_LEARN = {"train", "training"}
_TO_JUDGE = {"val", "valid", "validation", "dev", "test", "testing"}


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a comma-, semicolon- or tab-separated table with a header, cells stripped, empty and n/a as ''.

    Raises:
        UserError: the table cannot be read, a column occurs twice, or a row has too many or too few cells.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        delimiter = max("\t,;", key=text.split("\n", 1)[0].count)
        table = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
        lines = [(row, table.line_num) for row in table if any(row)]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text; save it as CSV in UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except csv.Error as error:
        raise UserError(f"{path}: not a readable table ({error}); save it as CSV in UTF-8") from error
    if "\0" in text:
        raise UserError(f"{path}: not a text table; save it as CSV in UTF-8")
    if not lines:
        raise UserError(f"{path}: the table is empty; it needs a header and one row a subject")
    header = [cell.strip() for cell in lines[0][0]]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UserError(f"{path}: column {twice[0]!r} occurs twice in the header; keep one")
    rows = []
    for row, line in lines[1:]:
        if len(row) != len(header):
            raise UserError(
                f"{path}: line {line} has {len(row)} cells, the header {len(header)}; quote cells with commas"
            )
        cells = (cell.strip() for cell in row)
        rows.append(dict(zip(header, ("" if cell in _MISSING else cell for cell in cells), strict=True)))
    return rows


def peek(path: Path) -> dict[str, list[str]]:
    """Column -> cells of a table as far as it can be read, however it is written: to see whether it is of use at all.

    Raises:
        UserError: the file cannot be opened.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace").replace("\0", "")  # NUL: as in UTF-16
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return {}
    delimiter = max("\t,;", key=lines[0].count)
    header, *rows = ([cell.strip(' "') for cell in line.split(delimiter)] for line in lines)
    return {
        name: ["" if row[index] in _MISSING else row[index] for row in rows if index < len(row)]
        for index, name in enumerate(header)
    }


def refuse_other_split(path: Path, columns: Mapping[str, Iterable[str]]) -> None:
    """Refuses a table that seems to give a split in a column that is not called so: it would be drawn anew.

    A name is like it (`Split`, `splt`, `ml_split`), or the cells are: some say train, others test or validation.
    """
    if "split" in columns:
        return
    for column, cells in columns.items():
        name, values = column.lower(), {cell.lower() for cell in cells}
        is_called_so = "split" in name or bool(difflib.get_close_matches(name, ["split"], n=1, cutoff=0.75))
        if is_called_so or (values & _TO_LEARN and values & _TO_JUDGE):
            raise UserError(
                f"{path}: column {column!r} looks like a split, which would not be followed; rename it to 'split' with "
                f"{', '.join(SPLITS)} in it, or drop it to have a split drawn"
            )


def require_columns(path: Path, rows: list[dict[str, str]], needed: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Refuses a table that lacks a column or has one that looks like a misspelt known one."""
    if not rows:
        raise UserError(f"{path}: has a header and no rows; add one row a subject")
    columns = list(rows[0])
    missing = [name for name in needed if name not in columns]
    if missing:
        raise UserError(f"{path}: lacks the column {missing[0]!r}; its header is {', '.join(columns)}")
    for column in columns:
        close = difflib.get_close_matches(column.lower(), known, n=1, cutoff=0.75)
        if column not in known and close and close[0] not in columns:
            raise UserError(f"{path}: unknown column {column!r}; did you mean {close[0]!r}?")


def check_split(path: Path, subject: str, split: str) -> str | None:
    """The split of a row, None where the cell is empty."""
    if split and split not in SPLITS:
        raise UserError(f"{path}: {subject} has split {split!r}; use train, validation or test")
    return split or None
