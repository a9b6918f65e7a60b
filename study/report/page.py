"""The page: findings, tables and drawings poured into one self-contained HTML file."""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from study.report.evidence import Evidence
from study.report.figures.style import COLOURS, Drawing
from study.report.findings import Findings
from study.report.quantities import QUANTITIES, number, seconds, times
from study.report.tables import Table
from study.report.text import clean
from study.report.verdict import Words

HERE = Path(__file__).parent


def render(findings: Findings, words: Words, tables: Sequence[Table], drawings: Sequence[Drawing]) -> str:
    """The whole page. Everything that comes from the study is escaped; scripts run only by their hash."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (HERE / "page.js").read_text(encoding="utf-8")
    page = environment.get_template("page.html").render(
        css=Markup(_theme() + (HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        evidence=findings.evidence,
        findings=findings,
        words=words,
        tables={table.name: table for table in tables},
        table_html={table.name: Markup(table.html()) for table in tables},
        drawings={drawing.name: drawing for drawing in drawings},
        inline={drawing.name: Markup(drawing.inline) for drawing in drawings},
        points={d.name: _json(d.points) for d in drawings if d.points},
        quantities=QUANTITIES,
        facts=_facts(findings),
        checklist=_checklist(findings.evidence),
        clean=clean,
        number=number,
        times=times,
        seconds=seconds,
        date=_date,
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


def _facts(findings: Findings) -> list[dict[str, str]]:
    """The numbers one looks for first."""
    evidence, facts = findings.evidence, []
    objective = findings.decisive.get(evidence.objective)
    if objective is not None:
        quantity, found = QUANTITIES[evidence.objective], objective.paired
        note = f"{quantity.label}, margin {quantity.format(objective.margin.value)}"
        if found.t.low is not None and found.t.high is not None:
            low, high = (number(end, quantity.decimals, signed=True) for end in (found.t.low, found.t.high))
            note = f"{quantity.label}, 95 % CI {low} to {high}, margin {quantity.format(objective.margin.value)}"
        facts.append({"value": quantity.format(found.difference, signed=True, unit=True), "note": note})
    ratio = findings.cost_ratio
    if ratio is not None:
        note = f"a search of {round(ratio.num_trials)} trials for one training"
        facts.append({"value": times(ratio.value), "note": note})
        facts.append({"value": seconds(ratio.training), "note": "one automatic training, device time"})
    if findings.break_evens:
        first = findings.break_evens[0].result
        if first.device_seconds is None:
            facts.append({"value": f"> {seconds(first.budget)}", "note": "break-even: not reached by the search"})
        else:
            facts.append({"value": seconds(first.device_seconds), "note": "break-even: the search is as good, less the margin"})
    return facts


def _checklist(evidence: Evidence) -> list[tuple[str, str]]:
    """How the study was made, for whoever wants to check or repeat it."""
    info = evidence.state.info
    cohort = info.get("cohort") or {}
    splits = cohort.get("splits") or {}
    seeds = sorted({trial.seed for arm in evidence.arms.values() for trial in arm.judged})
    rows = [
        ("Cohort", f"{cohort.get('num_subjects', '–')} subjects, {'simulated' if evidence.simulated else 'real'}"),
        ("Split by subject", ", ".join(f"{name} {size}" for name, size in splits.items())),
        ("Selection", f"best {QUANTITIES[evidence.objective].label} on validation, in all arms"),
        ("Seeds judged", ", ".join(map(str, seeds))),
        ("Data range", "1, fixed; intensities scaled by percentiles of the source inside the mask"),
        ("Unit of analysis", "test subject; seeds averaged within subject"),
        ("Terms", ", ".join(evidence.terms)),
        ("Hardware", _flat(info.get("hardware"))),
        ("Versions", _flat(info.get("versions"))),
        ("Git revision", str(info.get("git_revision") or "–")),
    ]
    return [(name, clean(text)) for name, text in rows]


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items() if item is not None)
    return str(value or "–")
