"""Templates, made into pages that stand alone: no request leaves them, and no name in them is more than a name."""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from study.report.figures.style import COLOURS, Drawing
from study.report.quantities import count, enumerated, percent, times
from study.report.table import Table
from study.report.text import clean

HERE = Path(__file__).parent


def pour(template: str, tables: Sequence[Table], drawings: Sequence[Drawing], **context: Any) -> str:
    """A page from a template. Everything in the context is escaped; scripts run only by their hash."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clean"] = clean
    environment.filters["count"] = count
    environment.globals |= {"enumerated": enumerated, "percent": percent, "times": times, "date": _date}
    script = (HERE / "page.js").read_text(encoding="utf-8")
    page = environment.get_template(template).render(
        css=Markup(_theme() + (HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        tables={table.name: table for table in tables},
        drawings={drawing.name: drawing for drawing in drawings},
        inline={drawing.name: Markup(drawing.inline) for drawing in drawings},
        points={d.name: _json(d.points) for d in drawings if d.points},
        **context,
    )
    # A lone surrogate in a name cannot be written; clean() takes those it sees, and this the rest.
    return page.encode("utf-8", "replace").decode("utf-8")


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
