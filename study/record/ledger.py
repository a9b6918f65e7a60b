"""What everything cost: rows and sums from a `StudyState`, and the three CSV files written from them."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from study.record.events import Scores
from study.record.state import Attempt, StudyState, Trial
from trainables.files import replacing

COST_COLUMNS = (
    "cpu_seconds",
    "setup_seconds",
    "train_seconds",
    "eval_seconds",
    "peak_bytes",
    "energy_joules",
)
LEDGER_COLUMNS = (
    "trial",
    "attempt",
    "state",
    "device",
    "share",
    "started",
    "ended",
    "device_seconds",
    *COST_COLUMNS,
)
SUBJECT_COLUMNS = ("trial", "arm", "seed", "subject", "scan", "split", "region", "metric", "value")

Row = dict[str, str | float | None]


def paid(state: StudyState, arm: str) -> dict[str, float]:
    """Device-seconds of an arm over all attempts: complete, pruned, failed, lost and repeated ones.

    Returns:
        `search` (trials that looked for weights), `confirmation` (the incumbent trained again), `training` (all
        seeds of an arm that needs no search), `total`.
    """
    sums = {"search": 0.0, "confirmation": 0.0, "training": 0.0}
    for trial in state.of_arm(arm):
        sums["training" if trial.role == "single" else trial.role] += trial.device_seconds
    return sums | {"total": sum(sums.values())}


def attempt_rows(state: StudyState) -> Iterator[Row]:
    """One row an attempt, in the order in which the trials were handed out. Times are Unix seconds: labels,
    whose difference is no cost, since that clock may step."""
    for trial in state.trials.values():
        for attempt in trial.attempts:
            yield {
                "trial": trial.key,
                "attempt": attempt.number,
                "state": attempt.state,
                "device": attempt.device.name if attempt.device else "",
                "share": attempt.share,
                "started": attempt.started_time,
                "ended": attempt.ended_time,
                "device_seconds": attempt.device_seconds,
                **{column: cost_of(attempt, column) for column in COST_COLUMNS},
            }


def trial_rows(state: StudyState) -> Iterator[Row]:
    """One row a trial: what it was, weights and validation of the kept model, test means in mask, cost."""
    for trial in state.trials.values():
        kept = state.objective.best(trial)
        metrics, weights = (kept.metrics, kept.weights) if kept else ({}, {})
        yield {
            "trial": trial.key,
            "arm": trial.arm,
            "role": trial.role,
            "replicate": trial.replicate,
            "seed": trial.seed,
            "number": trial.number,
            "state": trial.state,
            "step": kept.step if kept else None,
            **{f"weight/{term}": weights.get(term) for term in trial.terms},
            **{f"param/{name}": value for name, value in trial.params.items()},
            **{f"val/{name}": metrics.get(f"val/{name}") for name in state.goals},
            **{f"test/{name}": mean_score(trial.scores, "mask", name) for name in state.goals},
            "cost/num_attempts": len(trial.attempts),
            "cost/device_seconds": trial.device_seconds,
            **{f"cost/{column}": total_cost(trial, column) for column in COST_COLUMNS},
        }


def subject_rows(state: StudyState) -> Iterator[Row]:
    """Test scores in long form, of each scan: the baselines first, then every judged trial."""
    for name, scores in state.baseline_scans.items():
        yield from _score_rows(state, {"trial": name, "arm": name, "seed": None}, scores)
    for trial in state.trials.values():
        if trial.scan_scores is not None:
            identity: Row = {"trial": trial.key, "arm": trial.arm, "seed": trial.seed}
            yield from _score_rows(state, identity, trial.scan_scores)


def measurement_rows(state: StudyState) -> Iterator[Row]:
    """One row an epoch of a trial, in the order of trials and epochs."""
    for trial in state.trials.values():
        for measured in trial.measurements:
            yield {
                "trial": trial.key,
                "epoch": measured.epoch,
                "step": measured.step,
                **measured.metrics,
                **{f"weight/{term}": weight for term, weight in measured.weights.items()},
                **{f"cost/{column}": getattr(measured.cost, column) for column in ("device_seconds", *COST_COLUMNS)},
            }


def measurement_columns(state: StudyState) -> list[str]:
    """All columns that `measurement_rows` fill."""
    return list(dict.fromkeys(name for row in measurement_rows(state) for name in row)) or ["trial", "epoch", "step"]


def write_ledger(state: StudyState, directory: Path) -> None:
    """Writes `trials.csv`, `subjects.csv`, `ledger.csv` into a study's directory, each whole or not at all."""
    _write(directory / "trials.csv", trial_columns(state), trial_rows(state))
    _write(directory / "subjects.csv", SUBJECT_COLUMNS, subject_rows(state))
    _write(directory / "ledger.csv", LEDGER_COLUMNS, attempt_rows(state))


def mean_score(scores: Scores | None, region: str, metric: str) -> float | None:
    """Mean of a test metric over the subjects that have it, None if no subject has."""
    values = [regions.get(region, {}).get(metric) for regions in (scores or {}).values()]
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def cost_of(attempt: Attempt, column: str) -> float | None:
    """One of `COST_COLUMNS` as the attempt reported it last; None if it did not."""
    return getattr(attempt.cost, column) if attempt.cost else None


def total_cost(trial: Trial, column: str) -> float | None:
    """Sum over the attempts that reported the cost, their maximum for peaks; None if none did."""
    reported = (cost_of(attempt, column) for attempt in trial.attempts)
    values = [value for value in reported if value is not None]
    if not values:
        return None
    return max(values) if column == "peak_bytes" else sum(values)


def _score_rows(state: StudyState, identity: Row, scores: Scores) -> Iterator[Row]:
    """`scan` is empty where it is the only one of its subject."""
    for scan, regions in scores.items():
        subject = state.info.subject_of(scan)
        of: Row = {"subject": subject, "scan": None if scan == subject else scan, "split": "test"}
        for region, metrics in regions.items():
            for metric, value in metrics.items():
                yield identity | of | {"region": region, "metric": metric, "value": value}


def trial_columns(state: StudyState) -> list[str]:
    """All columns of `trials.csv`; weights and parameters differ between arms and stand side by side."""
    weights = {f"weight/{term}": None for trial in state.trials.values() for term in trial.terms}
    params = {f"param/{name}": None for trial in state.trials.values() for name in trial.params}
    columns = ["trial", "arm", "role", "replicate", "seed", "number", "state", "step", *weights, *params]
    columns += [f"{split}/{name}" for split in ("val", "test") for name in state.goals]
    return [
        *columns,
        "cost/num_attempts",
        "cost/device_seconds",
        *(f"cost/{column}" for column in COST_COLUMNS),
    ]


def _write(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
