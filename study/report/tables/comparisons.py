"""The tables of paired comparisons: against the hand-tuned arm, and against every arm."""

from typing import Any

from study.report.evidence import Evidence
from study.report.findings.findings import Findings
from study.report.findings.quality import Comparison
from study.report.formats import QUANTITIES, Quantity, interval_text, number, p_value
from study.report.tables.table import Row, Table, plain_table


def comparison_tables(findings: Findings) -> list[Table]:
    """What is said of candidate and reference in mask, in the other regions, and by the mixed model."""
    if not findings.comparisons or findings.evidence.candidate is None:
        return []
    tables = [_decisive(findings), _regions(findings), _mixed(findings), _pairs(findings)]
    return [table for table in tables if table is not None]


def _decisive(findings: Findings) -> Table | None:
    rows: list[Row] = []
    for metric, found in findings.decisive.items():
        quantity = QUANTITIES[metric]
        shown, values = _common(found, quantity)
        shown |= {"Margin": quantity.format(found.margin.value), "Verdict": found.outcome}
        values |= {
            "margin": found.margin.value,
            "margin_source": found.margin.source,
            "verdict": found.verdict,
            "outcome": found.outcome,
        }
        rows.append((_heading(quantity), shown, values))
    sources = sorted({found.margin.source for found in findings.decisive.values()})
    return _table(
        findings.evidence,
        "comparison",
        "in mask",
        rows,
        f"The t interval decides: its lower end above 0 is superior, above the negative margin non-inferior (a "
        f"one-sided test at 2.5 %); all of it below 0 is worse, below the negative margin inferior. Margin: "
        f"{'; '.join(sources)}.",
    )


def _regions(findings: Findings) -> Table | None:
    rows: list[Row] = []
    for region, by_metric in findings.comparisons.items():
        for metric, found in by_metric.items() if region != "mask" else ():
            rows.append((f"{_heading(QUANTITIES[metric])}, {region}", *_common(found, QUANTITIES[metric])))
    return _table(findings.evidence, "comparison_regions", "over the whole volume and inside the lesions", rows, "")


def _mixed(findings: Findings) -> Table | None:
    rows: list[Row] = []
    for metric, found in findings.decisive.items():
        model, quantity = found.mixed, QUANTITIES[metric]
        if model is None:
            continue
        shown = {
            "Difference": quantity.format(model.difference, signed=True),
            "95 % CI": interval_text(model.low, model.high, quantity.decimals),
            "SD of subjects": quantity.format(model.sd_subject),
            "SD of runs": quantity.format(model.sd_run),
            "Residual SD": quantity.format(model.sd_residual),
            "Converged": "yes" if model.converged else "no",
        }
        rows.append((_heading(quantity), shown, vars(model)))
    return _table(
        findings.evidence,
        "mixed_model",
        "in mask, subjects and training runs both as random samples",
        rows,
        "score ~ method with crossed random effects of subject and run, by REML; a t interval on the number of runs "
        "less 2. It asks for more than the t interval over subjects: what another training would give.",
    )


def _pairs(findings: Findings) -> Table | None:
    rows: list[Row] = []
    for pair in findings.pairs:
        quantity, found = QUANTITIES[pair.metric], pair.paired
        arm = findings.evidence.arms[pair.arm]
        shown = {
            "N": str(found.num_subjects),
            "Difference": quantity.format(found.difference, signed=True),
            "95 % CI (t)": interval_text(found.t.low, found.t.high, quantity.decimals),
            "Wilcoxon p": p_value(found.p_wilcoxon),
            "Holm p": p_value(pair.p_holm),
            "d_z": number(found.effect_size, 2, signed=True),
        }
        values = {"n": found.num_subjects, "difference": found.difference, "low": found.t.low, "high": found.t.high}
        values |= {"p_wilcoxon": found.p_wilcoxon, "p_holm": pair.p_holm, "d_z": found.effect_size}
        rows.append((f"{quantity.label}, {arm.label}", shown, values))
    candidate = findings.evidence.candidate
    if candidate is None or not rows:
        return None
    return plain_table(
        "pairs",
        f"{candidate.label} less every other arm in mask, paired by test subject; positive favours {candidate.label}.",
        rows,
        "Holm: adjusted over the pairs of a metric.",
        simulated=findings.evidence.simulated,
    )


def _heading(quantity: Quantity) -> str:
    return f"{quantity.label} ({quantity.unit})" if quantity.unit else quantity.label


def _common(found: Comparison, quantity: Quantity) -> tuple[dict[str, str], dict[str, Any]]:
    p = found.paired
    shown = {
        "N": str(p.num_subjects),
        "Difference": quantity.format(p.difference, signed=True),
        "95 % CI (t)": interval_text(p.t.low, p.t.high, quantity.decimals),
        "95 % CI (BCa)": interval_text(p.bca.low, p.bca.high, quantity.decimals),
        "Wilcoxon p": p_value(p.p_wilcoxon),
        "d_z": number(p.effect_size, 2, signed=True),
        "Rank-biserial": number(p.rank_biserial, 2, signed=True),
    }
    values = {
        "n": p.num_subjects,
        "difference": p.difference,
        "sd": p.sd,
        "low": p.t.low,
        "high": p.t.high,
        "bca_low": p.bca.low,
        "bca_high": p.bca.high,
        "p_wilcoxon": p.p_wilcoxon,
        "d_z": p.effect_size,
        "rank_biserial": p.rank_biserial,
    }
    return shown, values


def _table(evidence: Evidence, name: str, where: str, rows: list[Row], footnote: str) -> Table | None:
    if not rows or evidence.candidate is None or evidence.reference is None:
        return None
    candidate, reference = evidence.candidate.label, evidence.reference.label
    caption = (
        f"{candidate} less {reference} {where}, paired by test subject; positive favours {candidate} in every metric, "
        "also where lower is better."
    )
    return plain_table(name, caption, rows, footnote, simulated=evidence.simulated, index="Metric")
