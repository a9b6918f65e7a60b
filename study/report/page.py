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
from study.report.quantities import QUANTITIES, count, enumerated, interval_text, number, percent, seconds, times
from study.report.table import Table
from study.report.text import clean
from study.report.verdict import Words, spoken

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
    environment.filters["clean_name"] = clean
    script = (HERE / "page.js").read_text(encoding="utf-8")
    page = environment.get_template("page.html").render(
        css=Markup(_theme() + (HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        evidence=findings.evidence,
        findings=findings,
        words=words,
        tables={table.name: table for table in tables},
        drawings={drawing.name: drawing for drawing in drawings},
        inline={drawing.name: Markup(drawing.inline) for drawing in drawings},
        points={d.name: _json(d.points) for d in drawings if d.points},
        facts=_facts(findings),
        checklist=_checklist(findings.evidence),
        clean=clean,
        date=_date,
        enumerated=enumerated,
        percent=percent,
        spoken=spoken,
        plural=count,
        times=times,
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
        note = f"difference in {quantity.label}"
        if found.t.low is not None:
            note += f", 95 % CI {interval_text(found.t.low, found.t.high, quantity.decimals)}"
        facts.append({"value": quantity.format(found.difference, signed=True, unit=True), "note": note})
    ratio = findings.cost_ratio
    if ratio is not None:
        facts.append({"value": times(ratio.value), "note": "what one search paid over what one automatic training did"})
    if findings.break_evens:
        first = findings.break_evens[0].result
        if first.device_seconds is None:
            facts.append({"value": f"> {seconds(first.budget)}", "note": "break-even: not reached by the search"})
        else:
            facts.append({"value": seconds(first.device_seconds), "note": "break-even of the search, in device time"})
    return facts


def _checklist(evidence: Evidence) -> list[tuple[str, str]]:
    """How the study was made, for whoever wants to check or repeat it."""
    info = evidence.state.info
    cohort = info.get("cohort") or {}
    splits = cohort.get("splits") or {}
    provenance = {k: v for k, v in (cohort.get("provenance") or {}).items() if not isinstance(v, dict)}
    seeds = sorted({trial.seed for arm in evidence.arms.values() for trial in arm.judged})
    searched = sorted({trial.seed for trial in evidence.state.trials.values() if trial.role == "search"})
    objective = QUANTITIES[evidence.objective].label
    rows = [
        ("Cohort", f"{cohort.get('num_subjects', '–')} subjects, {'simulated' if evidence.simulated else 'real'}"),
        ("Split", "; ".join([", ".join(f"{name} {size}" for name, size in splits.items()), "by subject"])),
        ("Selection", f"best {objective} on validation, one rule for all arms; no search sees a test subject"),
        ("Seeds", f"judged under {_listed(seeds)}; searches trained under {_listed(searched)}"),
        ("Terms", ", ".join(evidence.terms)),
        ("Initial losses", ", ".join(f"{k} {v:.3g}" for k, v in (evidence.state.scale or {}).items()) or "–"),
        ("Preparation", _flat(provenance)),
        ("Data range", "1, fixed: both images are scaled by percentiles of the source inside the mask"),
        ("Scores", "PSNR, SSIM (Gaussian, sigma 1.5), RMSE of the volume: inside the mask, whole, inside the lesions"),
        ("Statistics", "the subject is the unit; seeds are averaged within a subject; intervals are 95 %"),
        ("Cost", "wall-clock seconds from when a device was taken, times the share held, over all attempts"),
        ("Training", _flat((info.get("config") or {}).get("training"))),
        ("Hardware", _flat(info.get("hardware"))),
        ("Versions", _flat(info.get("versions"))),
        ("Git revision", str(info.get("git_revision") or "–")),
    ]
    return [(name, clean(text)) for name, text in rows]


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds)) or "none yet"


def _flat(value: Any) -> str:
    """A nested mapping as one readable line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items() if item not in (None, "", {}, [])) or "–"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flat(item) for item in value) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        return number(value, 0)
    return "–" if value is None else str(value)
