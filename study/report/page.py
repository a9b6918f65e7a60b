"""The page of a study: findings, tables and drawings poured into one self-contained HTML file."""

from collections.abc import Sequence
from typing import Any

from study.report.evidence import Evidence
from study.report.figures.style import Drawing
from study.report.findings import Findings
from study.report.pour import pour
from study.report.quantities import number, times
from study.report.table import Table
from study.report.text import clean
from study.report.verdict import Words, budget_text, spoken


def render(findings: Findings, words: Words, tables: Sequence[Table], drawings: Sequence[Drawing]) -> str:
    """The whole page."""
    return pour(
        "page.html",
        tables,
        drawings,
        evidence=findings.evidence,
        findings=findings,
        words=words,
        facts=_facts(findings),
        checklist=_checklist(findings.evidence),
        spoken=spoken,
    )


def _facts(findings: Findings) -> list[dict[str, str]]:
    """The numbers one looks for first."""
    evidence, facts = findings.evidence, []
    objective = findings.decisive.get(evidence.objective)
    if objective is not None:
        quantity, found = evidence.selecting, objective.paired
        note = f"in {quantity.label}"
        if found.t.low is not None and found.t.high is not None:
            note += f", 95 % CI {quantity.between(found.t.low, found.t.high)}"
        facts.append({"value": quantity.against(found.difference), "note": note})
    ratio = findings.cost_ratio
    if ratio is not None:
        facts.append({"value": times(ratio.value), "note": "what one search paid over what one automatic training did"})
    if findings.break_evens:
        note = "break-even of the search, in device time"
        first = findings.break_evens[0]
        if first.result.censored:
            note = "break-even: not reached by the search"
        elif first.first_trial:
            note = "break-even: equal weights, the first trial, already reach it"
        facts.append({"value": budget_text(first), "note": note})
    return facts


def _checklist(evidence: Evidence) -> list[tuple[str, str]]:
    """How the study was made, for whoever wants to check or repeat it."""
    info = evidence.state.info
    cohort = info.get("cohort") or {}
    splits = cohort.get("splits") or {}
    provenance = {k: v for k, v in (cohort.get("provenance") or {}).items() if not isinstance(v, dict)}
    seeds = sorted({trial.seed for arm in evidence.arms.values() for trial in arm.judged})
    searched = sorted({trial.seed for trial in evidence.state.trials.values() if trial.role == "search"})
    objective = evidence.selecting.label
    rows = [
        ("Cohort", f"{_size(evidence)}, {'simulated' if evidence.simulated else 'real'}"),
        ("Split", "; ".join([", ".join(f"{name} {size}" for name, size in splits.items()), "by subject"])),
        ("Selection", f"best {objective} on validation, one rule for all arms; no search sees a test subject"),
        ("Seeds", f"judged under {_listed(seeds)}; searches trained under {_listed(searched)}"),
        ("Terms", ", ".join(evidence.terms)),
        ("Initial losses", ", ".join(f"{k} {v:.3g}" for k, v in (evidence.state.scale or {}).items()) or "–"),
        ("Preparation", _flat(provenance)),
        ("Data range", "1, fixed: both images are scaled by percentiles of the source inside the mask"),
        ("Scores", "PSNR, SSIM (Gaussian, sigma 1.5), RMSE of the volume: inside the mask, whole, inside the lesions"),
        (
            "Statistics",
            f"the subject is the unit; {evidence.averaged} are averaged within a subject; intervals are 95 %",
        ),
        ("Cost", "wall-clock seconds from when a device was taken, times the share held, over all attempts"),
        ("Training", _flat((info.get("config") or {}).get("training"))),
        ("Hardware", _flat(info.get("hardware"))),
        ("Versions", _flat(info.get("versions"))),
        ("Git revision", str(info.get("git_revision") or "–")),
    ]
    return [(name, clean(text)) for name, text in rows]


def _size(evidence: Evidence) -> str:
    cohort = evidence.state.info.get("cohort") or {}
    num_subjects = cohort.get("num_subjects", "–")
    num_scans = cohort.get("num_scans", num_subjects)
    if "num_scans" not in cohort and evidence.num_scans > len(evidence.subjects):
        return f"{num_scans} scans"  # journals of before counted these as subjects
    return f"{num_subjects} subjects" + (f" ({num_scans} scans)" if num_scans != num_subjects else "")


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
