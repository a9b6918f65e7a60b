"""`summary.json`: the verdict and every number of the page, with units and intervals."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from study.analysis.inference import judge
from study.record.finite import finite
from study.report.evidence import ArmEvidence, mean_sd_n
from study.report.findings.break_even import BreakEvenFinding
from study.report.findings.findings import Findings
from study.report.findings.quality import Comparison
from study.report.findings.words import Words
from study.report.formats import REGIONS

SCHEMA_VERSION = 1


def summarise(findings: Findings, words: Words) -> dict[str, Any]:
    """The findings as plain values; numbers that do not exist are None, and nothing is NaN or infinite."""
    evidence = findings.evidence
    info = evidence.state.info
    summary = {
        "schema": SCHEMA_VERSION,
        "study": info.document.get("name"),
        "finished": evidence.state.finished,
        "simulated": evidence.simulated,
        "candidate": evidence.candidate.name if evidence.candidate else None,
        "reference": evidence.reference.name if evidence.reference else None,
        "verdict": asdict(words) | {"lines": list(words.lines)},
        "units": {
            "cost": "device-seconds",
            "metrics": {m: {"unit": q.unit or None, "goal": q.goal} for m, q in evidence.quantities.items()},
            "differences": "candidate less reference, oriented so that positive favours the candidate",
        },
        "num_test_subjects": len(evidence.subjects),
        "num_test_scans": evidence.num_scans,
        "objective": evidence.objective,
        "data_range": 1.0,
        "arms": {name: _arm(arm, evidence.quantities) for name, arm in evidence.arms.items()},
        "baselines": {name: _test(regions, evidence.quantities) for name, regions in evidence.baselines.items()},
        "noninferiority": _noninferiority(findings),
        "pairs": [{"arm": p.arm, "metric": p.metric, "p_holm": p.p_holm, **asdict(p.paired)} for p in findings.pairs],
        "cost_ratio": _cost_ratio(findings),
        "break_even": _break_even(findings),
    }
    return finite(summary)


def _arm(arm: ArmEvidence, metrics: Collection[str]) -> dict[str, Any]:
    regions = {region: {m: arm.per_subject(region, m) for m in metrics} for region in REGIONS} if arm.judged else {}
    states = [trial.state for trial in arm.trials]
    return {
        "role": arm.role,
        "label": arm.label,
        "num_trials": len(arm.trials),
        "num_judged": len(arm.judged),
        "confirmed": arm.confirmed,
        "trials": {state: states.count(state) for state in sorted(set(states))},
        "test": _test(regions, metrics),
        "validation": {m: dict(zip(("mean", "sd", "n"), mean_sd_n(v), strict=True)) for m, v in arm.validation.items()},
        "cost": {"device_seconds": arm.cost},
        "searches": [
            {
                "replicate": search.replicate,
                "num_trials": len(search.trials),
                "device_seconds": float(search.costs.sum()),
                "incumbent": search.incumbent,
                "exchangeable": arm.exchangeable,
            }
            for search in arm.searches
        ],
    }


def _test(regions: dict[str, dict[str, Any]], metrics: Collection[str]) -> dict[str, Any]:
    """In mask at the top, as users expect; the other regions beside."""
    described = {
        region: {m: dict(zip(("mean", "sd", "n"), mean_sd_n(values), strict=True)) for m, values in metrics.items()}
        for region, metrics in regions.items()
    }
    nothing = {m: {"mean": None, "sd": None, "n": 0} for m in metrics}
    return {**described.get("mask", nothing), "regions": described}


def _noninferiority(findings: Findings) -> dict[str, Any]:
    found = {}
    for metric, c in findings.decisive.items():
        found[metric] = {
            "difference": c.paired.difference,
            "low": c.paired.t.low,
            "high": c.paired.t.high,
            "margin": c.margin.value,
            "margin_source": c.margin.source,
            "verdict": c.verdict,
            "outcome": c.outcome,
            "n": c.paired.num_subjects,
            "sd": c.paired.sd,
            "bca": asdict(c.paired.bca),
            "p_wilcoxon": c.paired.p_wilcoxon,
            "d_z": c.paired.effect_size,
            "rank_biserial": c.paired.rank_biserial,
            "mixed_model": _runs(c),
            "regions": {
                region: asdict(by_metric[metric].paired)
                for region, by_metric in findings.comparisons.items()
                if metric in by_metric
            },
        }
    return found


def _runs(comparison: Comparison) -> dict[str, Any] | None:
    interval = comparison.interval_of_runs
    if comparison.mixed is None or interval is None:
        return None
    said = {"verdict": judge(interval, comparison.margin.value), "outcome": comparison.outcome_of_runs}
    return asdict(comparison.mixed) | said


def _cost_ratio(findings: Findings) -> dict[str, Any]:
    ratio = findings.cost_ratio
    if ratio is None:
        return {"value": None, "low": None, "high": None}
    return {
        "value": ratio.value,
        "low": ratio.interval.low,
        "high": ratio.interval.high,
        "training_device_seconds": ratio.training,
        "search_device_seconds": ratio.search,
        "num_trials": ratio.num_trials,
        "with_confirmations": ratio.with_confirmations,
    }


def _break_even(findings: Findings) -> dict[str, Any]:
    """The 50 % level at the top, every level in `levels`."""
    levels = [_level(finding) for finding in findings.break_evens]
    unknown = {"rho": None, "device_seconds": None, "censored": None}
    return {**(levels[0] if levels else unknown), "levels": levels}


def _level(finding: BreakEvenFinding) -> dict[str, Any]:
    result = finding.result
    return {
        "rho": result.rho,
        "device_seconds": result.device_seconds,
        "censored": result.censored,
        "budget_device_seconds": result.budget,
        "num_trials": result.num_trials,
        "compared": finding.compared,
        "seeds": list(finding.seeds),
        "at_most": finding.at_most,
        "first_trial": finding.first_trial,
        "basis": finding.basis,
        "target": sum(finding.targets) / len(finding.targets),
        "exchangeable": finding.exchangeable,
        "num_searches": finding.num_searches,
        "speed_up": {"value": finding.speed_up, **asdict(finding.interval)},
    }
