"""The tables of cost: the ledger by arm and state, what trainings use, and what each search found."""

from typing import Any

from study.record.ledger import COST_COLUMNS, cost_of
from study.record.state import Attempt
from study.report.evidence import ArmEvidence
from study.report.findings.findings import Findings
from study.report.formats import number, percent
from study.report.tables.table import Row, Table, plain_table

STATES = ("complete", "pruned", "failed", "lost", "running")


def ledger_table(findings: Findings) -> Table | None:
    """Attempts and device-seconds of every arm by state; None before the first trial.

    `repeated` are second and later attempts; they are counted by state as well.
    """
    rows: list[Row] = []
    arms = [arm for arm in findings.evidence.arms.values() if arm.trials]
    for arm in arms:
        attempts = [attempt for trial in arm.trials for attempt in trial.attempts]
        by_state = {state: [a for a in attempts if a.state == state] for state in STATES}
        by_state["repeated"] = [a for a in attempts if a.number > 1]
        shown = {"Trials": str(len(arm.trials))} | {k.capitalize(): _paid(v) for k, v in by_state.items()}
        values: dict[str, Any] = {"num_trials": len(arm.trials), "device_seconds": arm.cost["total"]}
        for state, members in by_state.items():
            values |= {f"num_{state}": len(members), f"device_seconds_{state}": _seconds(members)}
        rows.append((arm.label, shown | {"Total (s)": number(arm.cost["total"], 0)}, values))
    if not rows:
        return None
    return plain_table(
        "ledger",
        "What was paid, by arm and by how the attempt ended: attempts · device-seconds.",
        rows,
        "An attempt is one try at a trial. Repeated: second and later attempts after a crash, also counted by state.",
        simulated=findings.evidence.simulated,
    )


def resources_table(findings: Findings) -> Table | None:
    """What a complete training uses, mean over an arm's trainings; None before one is complete."""
    rows: list[Row] = []
    for arm in findings.evidence.arms.values():
        if not arm.complete:
            continue
        sums = {column: _mean(arm, column) for column in COST_COLUMNS}
        steps = [trial.measurements[-1].step for trial in arm.complete if trial.measurements]
        shown = {
            "Steps": "–" if not steps else number(max(steps), 0),
            "Set-up (s)": number(sums["setup_seconds"], 1),
            "Training (s)": number(sums["train_seconds"], 0),
            "Evaluation (s)": number(sums["eval_seconds"], 0),
            "CPU (s)": number(sums["cpu_seconds"], 0),
            "Peak (GB)": number(None if sums["peak_bytes"] is None else sums["peak_bytes"] / 1e9, 2),
            "Energy (kJ)": number(None if sums["energy_joules"] is None else sums["energy_joules"] / 1e3, 1),
        }
        rows.append((arm.label, shown, {"num_steps": max(steps, default=None)} | sums))
    if not rows:
        return None
    return plain_table(
        "resources",
        "What one training uses, mean over the complete trainings of an arm.",
        rows,
        "CPU: user and system time. Peak: of the process, or allocated on the GPU. Energy only where a whole GPU was "
        "held and counts its own.",
        simulated=findings.evidence.simulated,
    )


def searches_table(findings: Findings) -> Table | None:
    """What each search found for its money, and which free weights mattered; None without a search."""
    if not findings.searches:
        return None
    quantity = findings.evidence.selecting
    rows: list[Row] = []
    for found in findings.searches:
        name = f"{found.arm}, search {found.replicate}"
        shares = sorted(found.importances.items(), key=lambda item: -item[1])
        shown = {
            "Trials": str(found.num_trials),
            "Paid (s)": number(found.device_seconds, 0),
            "Incumbent": found.incumbent or "–",
            f"Validated {quantity.label}": quantity.format(found.validation),
            f"Its test {quantity.label}": quantity.format(found.test),
            "Regret": number(found.regret, 2),
            "What mattered": ", ".join(f"{key.removeprefix('log_ratio/')} {percent(share)}" for key, share in shares)
            or "–",
        }
        values = {
            "num_trials": found.num_trials,
            "device_seconds": found.device_seconds,
            "incumbent": found.incumbent,
            "validation": found.validation,
            "test": found.test,
            "regret": found.regret,
            **{f"importance/{key}": share for key, share in shares},
        }
        rows.append((name, shown, values))
    first = findings.evidence.terms[0] if findings.evidence.terms else ""
    return plain_table(
        "searches",
        "What each search found for its money.",
        rows,
        "Regret: how far below the best test quality known under the search's own seed the incumbent was, mean over "
        "the logarithm of cost; 0 is the best, 1 equal weights under that seed. What mattered: share of each free "
        f"weight (its ratio to {first}) in what made trials good or bad, by PED-ANOVA.",
        simulated=findings.evidence.simulated,
        index="Search",
    )


def _paid(attempts: list[Attempt]) -> str:
    return f"{len(attempts)} · {number(_seconds(attempts), 0)}" if attempts else "–"


def _seconds(attempts: list[Attempt]) -> float:
    return sum(attempt.device_seconds for attempt in attempts)


def _mean(arm: ArmEvidence, column: str) -> float | None:
    """Mean of a cost over the complete trials' last attempts: what one training that goes well uses."""
    reported = [cost_of(trial.attempts[-1], column) for trial in arm.complete if trial.attempts]
    known = [value for value in reported if value is not None]
    return sum(known) / len(known) if known else None
