"""The table of the abstract: every arm and baseline, its quality and its cost."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from study.report.evidence import ArmEvidence, Evidence, Floats, mean_sd_n
from study.report.findings.findings import Findings
from study.report.formats import BASELINES, REGIONS, Quantity, number
from study.report.tables.table import Table, unique

SIGNIFICANT = 0.05


def results_table(findings: Findings, region: str = "mask") -> Table | None:
    """Every arm and baseline: test quality, number of trials, device-seconds by purpose; None before there is any."""
    evidence = findings.evidence
    rows: list[tuple[str, ArmEvidence | None, dict[str, Floats]]] = []
    for name, regions in evidence.baselines.items():
        rows.append((BASELINES.get(name, name), None, regions[region]))
    for each in evidence.arms.values():
        scores = {m: each.per_subject(region, m) for m in evidence.quantities} if each.judged else {}
        rows.append((each.label, each, scores))
    if not rows:
        return None
    adjusted = {(p.arm, p.metric): p.p_holm for p in findings.pairs} if region == "mask" else {}
    shown: list[dict[str, str]] = []
    values: list[dict[str, Any]] = []
    for _, arm, scores in rows:
        cells: dict[str, str] = {}
        numbers: dict[str, Any] = {}
        for metric, quantity in evidence.quantities.items():
            mean, sd, n = mean_sd_n(scores.get(metric))
            p = adjusted.get((arm.name, metric)) if arm else None
            star = "*" if p is not None and p < SIGNIFICANT else ""
            spread = "" if sd is None else f" ± {quantity.format(sd)}"
            heading = f"{quantity.label} ({quantity.unit})" if quantity.unit else quantity.label
            cells[heading] = quantity.format(mean) + (spread if mean is not None else "") + star
            numbers |= {f"{metric}_mean": mean, f"{metric}_sd": sd, f"{metric}_n": n, f"{metric}_p_holm": p}
        if region == "mask":
            cost, numbers_of_cost = _cost_cells(arm)
            cells |= cost
            numbers |= numbers_of_cost
        shown.append(cells)
        values.append(numbers)
    index = pd.Index(unique([heading for heading, _, _ in rows]), name="Arm")
    frame = pd.DataFrame(shown, index=index)
    numbers_frame = pd.DataFrame(values, index=index)
    return Table(
        name="results" if region == "mask" else f"results_{region}",
        caption=_caption(evidence, region),
        shown=frame,
        values=numbers_frame,
        best=_best(frame, numbers_frame, evidence.quantities),
        footnote=_footnote(findings, region),
    )


def _cost_cells(arm: ArmEvidence | None) -> tuple[dict[str, str], dict[str, Any]]:
    heading = {
        "search": "Search (s)",
        "confirmation": "Confirmation (s)",
        "training": "Training (s)",
        "total": "Total (s)",
    }
    if arm is None:
        return {"Trials": "–"} | dict.fromkeys(heading.values(), "–"), {}
    shown = {"Trials": str(len(arm.trials))}
    shown |= {label: number(arm.cost[key] or None, 0) for key, label in heading.items()}
    return shown, {"num_trials": len(arm.trials)} | {f"device_seconds_{k}": arm.cost[k] for k in heading}


def _best(shown: pd.DataFrame, values: pd.DataFrame, quantities: Mapping[str, Quantity]) -> pd.DataFrame:
    best = pd.DataFrame(False, index=shown.index, columns=shown.columns)
    for position, (metric, quantity) in enumerate(quantities.items()):
        means = pd.to_numeric(values[f"{metric}_mean"])
        if means.notna().any():
            best.iloc[:, position] = (means == (means.max() if quantity.goal == "max" else means.min())).to_numpy()
    return best


def _caption(evidence: Evidence, region: str) -> str:
    simulated = " Simulated cohort." if evidence.simulated else ""
    return (
        f"Test quality {REGIONS[region]}: mean ± SD over {len(evidence.subjects)} test subjects "
        f"({evidence.averaged} averaged first)"
        f"{', and paid cost in device-seconds' if region == 'mask' else ''}.{simulated}"
    )


def _footnote(findings: Findings, region: str) -> str:
    candidate = findings.evidence.candidate
    if region != "mask" or candidate is None:
        return "Bold: best mean of the column."
    return (
        f"Bold: best mean of the column. *: differs from {candidate.label} (Wilcoxon signed-rank, Holm-adjusted over "
        f"its pairs, p < {SIGNIFICANT}). Costs are of all attempts, failed and lost ones too."
    )
