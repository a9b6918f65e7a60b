"""Several studies in tables: their verdicts, and every arm in every study."""

from collections.abc import Sequence
from typing import Any

from study.report.comparison.compared import Compared
from study.report.evidence import mean_sd_n
from study.report.findings.words import budget_text
from study.report.formats import QUANTITIES, times
from study.report.tables.table import Table, plain_table


def verdict_tables(studies: Sequence[Compared]) -> list[Table]:
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


def arm_tables(studies: Sequence[Compared]) -> list[Table]:
    """One table a metric: arms down, studies across."""
    names = list(dict.fromkeys(name for study in studies for name in study.findings.evidence.arms))
    tables = []
    for metric, quantity in QUANTITIES.items():
        rows = []
        for name in names:
            shown: dict[str, str] = {}
            values: dict[str, Any] = {}
            for study in studies:
                arm = study.findings.evidence.arms.get(name)
                mean, sd, _ = mean_sd_n(arm.per_subject("mask", metric) if arm and arm.judged else None)
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
