"""Templates, made into pages that stand alone: no request leaves them, and no name in them is more than a name."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from markupsafe import Markup

from study.report.figures.style import COLOURS, Drawing
from study.report.formats import clean, count, enumerated, percent, times
from study.report.tables.table import Table
from trainables.errors import did_you_mean

HERE = Path(__file__).parent
SECTIONS = HERE.parent / "sections"
Item = TypeVar("Item")


def pour(
    template: str, tables: Mapping[str, Table | None], drawings: Mapping[str, Drawing | None], **context: Any
) -> str:
    """A page from a template. Everything in the context is escaped; scripts run only by their hash.

    Args:
        template: file name in this folder; it may include the templates of sections.
        tables: every table that a template may name; None where the page goes without it.
        drawings: likewise.

    Raises:
        LookupError: a template names a table or a drawing that does not exist.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([HERE, SECTIONS]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["clean"] = clean
    environment.filters["count"] = count
    environment.globals |= {"enumerated": enumerated, "percent": percent, "times": times, "date": _date}
    script = (HERE / "page.js").read_text(encoding="utf-8")
    page = environment.get_template(template).render(
        css=Markup(_theme() + (HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        table_of=_lookup("table", tables),
        drawing_of=_lookup("drawing", drawings),
        inline=lambda drawing: Markup(drawing.inline),
        json=_json,
        **context,
    )
    # A lone surrogate in a name cannot be written; clean() takes those it sees, and this the rest.
    return page.encode("utf-8", "replace").decode("utf-8")


def _lookup(kind: str, items: Mapping[str, Item | None]) -> Callable[[str], Item | None]:
    """Finds an item by name. A name that stands for nothing would leave an empty place on the page, unseen."""

    def find(name: str) -> Item | None:
        try:
            return items[name]
        except KeyError:
            raise LookupError(f"no section makes a {kind} {name!r}{did_you_mean(name, items)}") from None

    return find


def _theme() -> str:
    """The figures' colours as CSS variables, for both themes."""
    light = "".join(f"--{name}:{pair[0]};" for name, pair in COLOURS.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in COLOURS.items())
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def _json(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _date(time: float | None) -> str:
    return "–" if time is None else f"{datetime.fromtimestamp(time, UTC):%d %B %Y, %H:%M} UTC"
