"""Several studies side by side, by the same definitions, or a reason why that would be wrong."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.journal import load_state
from trainables.errors import UserError

if TYPE_CHECKING:
    from study.report.evidence import Evidence
    from study.report.findings import Findings
    from study.report.table import Table
    from study.report.verdict import Words


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One study of the comparison."""

    label: str
    directory: Path
    findings: "Findings"
    words: "Words"


def compare_studies(directories: Sequence[Path], out: Path) -> Path:
    """Writes `index.html`, `summary.json`, tables and figures of several studies into `out`, and names the page.

    Args:
        directories: of two or more studies; their order is kept.
        out: folder to write, replaced if it is there.

    Raises:
        UserError: fewer than two studies, one has no journal, or they are not comparable; says why.
    """
    if len(directories) < 2:
        raise UserError(
            "compare: name two or more study folders, for example `cov-study compare runs/demo runs/other`."
        )
    states = [(directory, load_state(directory)) for directory in directories]
    from study.report.evidence import gather
    from study.report.figures.studies import draw_costs, draw_differences
    from study.report.figures.style import styled
    from study.report.findings import find
    from study.report.pour import pour
    from study.report.summary import summarise
    from study.report.swap import swap_in
    from study.report.table import unique
    from study.report.verdict import put_into_words

    evidence = [(directory, gather(state)) for directory, state in states]
    _demand_comparable(evidence)
    labels = unique([str(e.state.info.get("name") or directory.name) for directory, e in evidence])
    studies = []
    for label, (directory, gathered) in zip(labels, evidence, strict=True):
        findings = find(gathered)
        studies.append(Compared(label=label, directory=directory, findings=findings, words=put_into_words(findings)))
    tables = [*_verdict_tables(studies), *_arm_tables(studies)]
    with styled():
        drawings = [d for d in (draw_differences(studies), draw_costs(studies)) if d is not None]
    page = pour("compare.html", tables, drawings, studies=studies, verdict=_verdict(studies))
    summary = {"studies": [summarise(s.findings, s.words) | {"label": s.label} for s in studies]}
    swap_in(out, page, summary, tables, drawings)
    return out / "index.html"


# --- what may be compared -----------------------------------------------------------------------------------------


def _demand_comparable(studies: Sequence[tuple[Path, "Evidence"]]) -> None:
    """Refuses where the same word means different things.

    Raises:
        UserError: names the first study that differs from the first one, in what, and why that matters.
    """
    for what, definition, why in DEFINITIONS:
        first_directory, first = studies[0]
        expected = definition(first)
        for directory, evidence in studies[1:]:
            found = definition(evidence)
            if found != expected:
                raise UserError(
                    f"{directory}: {what} is {_said(found)}, but {_said(expected)} in {first_directory}; {why}."
                )


def _data_range(evidence: "Evidence") -> Any:
    prepare = ((evidence.state.info.get("config") or {}).get("cohort") or {}).get("prepare") or {}
    provenance = (evidence.state.info.get("cohort") or {}).get("provenance") or {}
    return prepare.get("percentiles") or provenance.get("percentiles")


def _regions(evidence: "Evidence") -> Any:
    """Regions that every judged score has; lesions may be missing in some subjects, and are no condition."""
    return sorted(
        region
        for region in ("mask", "volume")
        if any((arm.scores[region]["psnr"] == arm.scores[region]["psnr"]).any() for arm in evidence.arms.values())
    )


def _terms_of_metrics(evidence: "Evidence") -> Any:
    return f"{evidence.objective} ({evidence.goal})"


DEFINITIONS: Sequence[tuple[str, Callable[["Evidence"], Any], str]] = (
    ("the metric that selects", _terms_of_metrics, "incumbents and break-even would mean different things"),
    ("the scale of intensities (percentiles)", _data_range, "PSNR, SSIM and RMSE would have different data ranges"),
    ("the set of scored regions", _regions, "a metric in mask is not one over the whole volume"),
)


def _said(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value


# --- side by side ---------------------------------------------------------------------------------------------------


def _verdict(studies: Sequence[Compared]) -> str:
    """In how many of the studies the candidate held its own, metric by metric."""
    from study.report.quantities import QUANTITIES, count

    parts = []
    for metric, quantity in QUANTITIES.items():
        judged = [s.findings.decisive[metric].verdict for s in studies if metric in s.findings.decisive]
        if judged:
            good = sum(verdict in ("superior", "non-inferior") for verdict in judged)
            parts.append(f"in {quantity.label} in {good} of {count(len(judged), 'study', 'studies')}")
    if not parts:
        return "None of these studies has a verdict yet."
    return f"The automatic arm is better or non-inferior {'; '.join(parts)}."


def _verdict_tables(studies: Sequence[Compared]) -> list["Table"]:
    from study.report.quantities import QUANTITIES, times
    from study.report.table import plain_table
    from study.report.verdict import budget_text

    rows = []
    for study in studies:
        findings, evidence = study.findings, study.findings.evidence
        shown = {
            "Cohort": f"{'simulated' if evidence.simulated else 'real'}, {len(evidence.subjects)} tested",
            "Terms": str(len(evidence.terms)),
        }
        values: dict[str, Any] = {"num_subjects": len(evidence.subjects), "simulated": evidence.simulated}
        for metric, quantity in QUANTITIES.items():
            found = findings.decisive.get(metric)
            shown[quantity.label] = (
                "–" if found is None else f"{quantity.format(found.paired.difference, signed=True)} {found.outcome}"
            )
            if found is not None:
                values[f"{metric}_difference"] = found.paired.difference
                values |= {f"{metric}_low": found.paired.t.low, f"{metric}_high": found.paired.t.high}
                values |= {f"{metric}_margin": found.margin.value, f"{metric}_verdict": found.verdict}
        ratio = findings.cost_ratio
        shown["Search / training"] = "–" if ratio is None else times(ratio.value)
        values["cost_ratio"] = None if ratio is None else ratio.value
        first = findings.break_evens[0] if findings.break_evens else None
        shown["Break-even 50 %"] = "–" if first is None else budget_text(first)
        values["break_even_device_seconds"] = None if first is None else first.result.device_seconds
        rows.append((study.label, shown, values))
    return [
        plain_table(
            "verdicts",
            "Every study: paired difference of the automatic from the hand-tuned arm in mask, positive favouring the "
            "automatic one also where lower is better, and verdict; what a search paid over what a training did.",
            rows,
            "Each study has its own margin and its own devices: seconds of one are not seconds of another.",
            simulated=any(study.findings.evidence.simulated for study in studies),
            index="Study",
        )
    ]


def _arm_tables(studies: Sequence[Compared]) -> list["Table"]:
    """One table a metric: arms down, studies across."""
    from study.report.quantities import QUANTITIES
    from study.report.table import plain_table
    from study.report.tables import describe

    names = list(dict.fromkeys(name for study in studies for name in study.findings.evidence.arms))
    tables = []
    for metric, quantity in QUANTITIES.items():
        rows = []
        for name in names:
            shown: dict[str, str] = {}
            values: dict[str, Any] = {}
            for study in studies:
                arm = study.findings.evidence.arms.get(name)
                mean, sd, _ = describe(arm.per_subject("mask", metric) if arm and arm.judged else None)
                spread = "" if sd is None else f" ± {quantity.format(sd)}"
                shown[study.label] = quantity.format(mean) + spread
                values |= {f"{study.label} mean": mean, f"{study.label} sd": sd}
            rows.append((name, shown, values))
        tables.append(
            plain_table(
                f"arms_{metric}",
                f"{quantity.title} in mask, mean ± SD over the test subjects of each study.",
                rows,
                "",
                simulated=any(study.findings.evidence.simulated for study in studies),
            )
        )
    return tables
