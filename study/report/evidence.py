"""The numbers of a `StudyState` as arrays: what each arm scored and what each search went through."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.arm import Range, strategy_by_name
from study.record.arms import space_of
from study.record.events import Scores
from study.record.info import ArmInfo
from study.record.ledger import mean_score, paid
from study.record.state import StudyState, Trial
from study.report.formats import QUANTITIES, REGIONS, Quantity

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SearchEvidence:
    """One replicate of a search: its trials that are over, in the order in which they ended."""

    arm: str
    replicate: int
    trials: Sequence[Trial]
    validation: Floats
    """Objective on validation (n,), as measured; NaN for failed and pruned trials."""
    test: Floats
    """The same metric on the test subjects, mean in mask (n,); NaN where it was not measured."""
    costs: Floats
    """Device-seconds of all attempts (n,)."""
    incumbent: str | None

    @property
    def ends(self) -> Floats:
        """Device-seconds paid by the search when each trial had ended (n,)."""
        return np.cumsum(self.costs)

    @property
    def seed(self) -> int:
        """Under which all its trials were trained."""
        return self.trials[0].seed

    @property
    def first(self) -> int | None:
        """Place of the trial it began with, equal weights; None while that is not over."""
        return next((i for i, trial in enumerate(self.trials) if trial.number == 0), None)

    @property
    def has_test(self) -> bool:
        """Whether every trial with a validation value has a test value."""
        valued = np.isfinite(self.validation)
        return bool(valued.any() and np.isfinite(self.test[valued]).all())


@dataclass(frozen=True, kw_only=True)
class ArmEvidence:
    """What an arm showed: the runs that stand for it, their scores, and its searches."""

    name: str
    label: str
    role: str
    strategy: str
    """`single`, `equal`, `given`, `tuned`, `frozen` or an automatic weighting: what the arm is, whatever its name."""
    space: Mapping[str, Range]
    """Bounds of each dimension that is searched."""
    trials: Sequence[Trial]
    judged: Sequence[Trial]
    """Trials whose test scores are the arm's: its seeds, or the confirmations of its incumbents."""
    confirmed: bool
    """False where a search has no confirmation and its incumbent's own score stands in."""
    scores: dict[str, dict[str, Floats]]
    """region -> metric -> (runs, subjects); NaN where a run has no such score."""
    validation: dict[str, Floats]
    """metric -> (runs,), of the kept models."""
    searches: Sequence[SearchEvidence]
    exchangeable: bool
    """Whether any order of the search's trials was equally likely: random search without pruning."""
    cost: dict[str, float]

    @cached_property
    def replicates(self) -> list[int]:
        """Replicate of each judged run; a run without one is its own."""
        return [-1 - i if t.replicate is None else t.replicate for i, t in enumerate(self.judged)]

    def per_subject(self, region: str, metric: str) -> Floats:
        """Score of each subject (subjects,): mean over the seeds of a replicate, then over replicates."""
        values = self.scores[region][metric]
        groups = sorted(set(self.replicates), reverse=True)
        index = np.array(self.replicates)
        return nanmean(np.array([nanmean(values[index == group]) for group in groups]))

    def quality_by_seed(self, metric: str, split: str, replicate: int | None = None) -> dict[int, float]:
        """Mean quality in mask of the judged runs under each seed, on the `test` or the `validation` subjects; of one
        replicate, or of all. Seeds without a value are left out."""
        rows = self.scores["mask"][metric] if split == "test" else self.validation[metric][:, None]
        values: dict[int, list[float]] = {}
        for run, row in zip(self.judged, rows, strict=True):
            value = mean(row)
            if value is not None and replicate in (None, run.replicate):
                values.setdefault(run.seed, []).append(value)
        return {seed: sum(found) / len(found) for seed, found in values.items()}

    @property
    def complete(self) -> list[Trial]:
        """Trainings that came to their end."""
        return [trial for trial in self.trials if trial.state == "complete"]

    def training_costs(self) -> Floats:
        """Device-seconds that each use of the arm took: its searches, or its trainings where it needs no search, the
        cost of failed ones shared out."""
        if self.searches:
            return np.array([search.costs.sum() for search in self.searches])
        done = [t.device_seconds for t in self.trials if t.role == "single" and t.state == "complete"]
        wasted = sum(t.device_seconds for t in self.trials if t.role == "single" and t.state == "failed")
        return np.array(done) + (wasted / len(done) if done else 0.0)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All of it."""

    state: StudyState
    subjects: Sequence[str]
    arms: dict[str, ArmEvidence]
    baselines: dict[str, dict[str, dict[str, Floats]]]
    """baseline -> region -> metric -> (subjects,)."""
    objective: str
    """Metric that selects, without its `val/`."""
    goal: str

    @cached_property
    def num_scans(self) -> int:
        """Scans of the test subjects; more than subjects where one was scanned several times."""
        judged = (trial.scan_scores or {} for trial in self.state.trials.values())
        return len({scan for scores in (*self.state.baseline_scans.values(), *judged) for scan in scores})

    @property
    def averaged(self) -> str:
        """What is averaged within each subject."""
        return "scans and seeds" if self.num_scans > len(self.subjects) else "seeds"

    @property
    def terms(self) -> list[str]:
        """Names of the loss terms."""
        return list(self.state.info.terms)

    @property
    def simulated(self) -> bool:
        """Whether the images come from the virtual cohort."""
        return self.state.info.cohort.simulated

    @property
    def settings(self) -> dict[str, Any]:
        """The `report` section of the configuration."""
        settings = self.state.info.setting("report")
        return dict(settings) if isinstance(settings, Mapping) else {}

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """Every metric that was measured: the usual ones, then those of the user's own."""
        own = {
            name: Quantity(name=name, label=name, goal=goal, unit="", decimals=4)
            for name, goal in self.state.goals.items()
            if name not in QUANTITIES
        }
        return QUANTITIES | own

    @property
    def selecting(self) -> Quantity:
        """The metric that selects."""
        return self.quantities[self.objective]

    def of_role(self, role: str) -> list[ArmEvidence]:
        """Arms of a role, in the study's order."""
        return [arm for arm in self.arms.values() if arm.role == role]

    @cached_property
    def candidate(self) -> ArmEvidence | None:
        """The automatic arm that the headline is about: CoV, or the first there is."""
        return _preferred(self.of_role("automatic"), "cov")

    @cached_property
    def reference(self) -> ArmEvidence | None:
        """The hand-tuned arm that it is compared with: `tuned`, or the first there is."""
        return _preferred(self.of_role("tuned"), "tuned")

    @cached_property
    def equal(self) -> ArmEvidence | None:
        """The arm of equal weights: of several, one that has scores."""
        arms = [arm for arm in self.arms.values() if arm.strategy == "equal"]
        return _preferred([arm for arm in arms if arm.judged] or arms, "equal")


def gather(state: StudyState) -> Evidence:
    """Collects the arrays of a study. Arms that are planned but have no trial yet are there, empty."""
    objective, goal = state.objective.name, state.objective.goal
    planned = state.info.arms
    by_arm: dict[str, list[Trial]] = {name: [] for name in planned}
    for trial in state.trials.values():
        by_arm.setdefault(trial.arm, []).append(trial)
    subjects = _subjects(state)
    arms = {}
    for name, trials in by_arm.items():
        info = planned.get(name) or ArmInfo(
            name=name, label=name, role=_guessed_role(trials), strategy=strategy_by_name(name)
        )
        arms[name] = _arm(state, name, info, trials, subjects, objective)
    baselines = {name: _single_run(scores, subjects, state.goals) for name, scores in state.baselines.items()}
    return Evidence(state=state, subjects=subjects, arms=arms, baselines=baselines, objective=objective, goal=goal)


def nanmean(values: Floats) -> Floats:
    """Mean over the first axis of what is there; NaN, without a warning, where nothing is."""
    there = np.isfinite(values)
    counts = there.sum(axis=0)
    sums = np.where(there, values, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def mean(values: Floats) -> float | None:
    """Mean of the finite values, None if there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _preferred(arms: list[ArmEvidence], strategy: str) -> ArmEvidence | None:
    """The arm of a strategy; of several the one that is called like it, of none the first arm."""
    return max(arms, key=lambda arm: (arm.strategy == strategy, arm.name == strategy), default=None)


def mean_sd_n(values: Floats | None) -> tuple[float | None, float | None, int]:
    """Mean, sample SD and number of the finite values; None for what cannot be computed."""
    if values is None or not np.isfinite(values).any():
        return None, None, 0
    finite = values[np.isfinite(values)]
    return float(finite.mean()), float(finite.std(ddof=1)) if len(finite) > 1 else None, len(finite)


def final_weight(trial: Trial, term: str) -> float | None:
    """Weight of a term at the last measurement of a trial."""
    return trial.measurements[-1].weights.get(term) if trial.measurements else None


def _guessed_role(trials: Sequence[Trial]) -> str:
    return "fixed" if all(trial.role == "single" for trial in trials) else "tuned"


def _subjects(state: StudyState) -> list[str]:
    """Test subjects in the order in which they were first scored."""
    names: dict[str, None] = {}
    for scores in [*state.baselines.values(), *(t.scores for t in state.trials.values() if t.scores)]:
        names.update(dict.fromkeys(scores))
    return list(names)


def _arm(
    state: StudyState,
    name: str,
    info: ArmInfo,
    trials: list[Trial],
    subjects: Sequence[str],
    objective: str,
) -> ArmEvidence:
    searches = _searches(state, name, trials, objective)
    judged = [t for t in trials if t.role in ("single", "confirmation") and t.scores is not None]
    confirmed = bool(judged) or not searches
    if not judged:
        incumbents = {search.incumbent for search in searches}
        judged = [t for t in trials if t.key in incumbents and t.scores is not None]
    kept = [state.objective.best(trial) for trial in judged]
    return ArmEvidence(
        name=name,
        label=info.label,
        role=info.role,
        strategy=info.strategy,
        space=space_of(state, name),
        trials=trials,
        judged=judged,
        confirmed=confirmed,
        scores=_score_arrays([t.scores for t in judged if t.scores is not None], subjects, state.goals),
        validation={
            metric: np.array([_value(m.metrics.get(f"val/{metric}")) if m else np.nan for m in kept])
            for metric in state.goals
        },
        searches=searches,
        exchangeable=info.sampler == "random" and not info.is_pruned,
        cost=paid(state, name),
    )


def _searches(state: StudyState, arm: str, trials: list[Trial], objective: str) -> list[SearchEvidence]:
    by_replicate: dict[int, list[Trial]] = {}
    for trial in trials:
        if trial.role == "search" and not trial.state.is_open:
            by_replicate.setdefault(trial.replicate or 0, []).append(trial)
    searches = []
    for replicate, members in sorted(by_replicate.items()):
        members.sort(key=lambda trial: (trial.ended or 0.0, trial.number or 0))
        values = []
        for trial in members:
            kept = state.objective.best(trial) if trial.state == "complete" else None
            values.append(_value(kept.metrics.get(f"val/{objective}")) if kept else np.nan)
        v = np.array(values)
        ended = state.searches.get((arm, replicate))
        searches.append(
            SearchEvidence(
                arm=arm,
                replicate=replicate,
                trials=members,
                validation=v,
                test=np.array([_value(mean_score(trial.scores, "mask", objective)) for trial in members]),
                costs=np.array([trial.device_seconds for trial in members]),
                incumbent=ended.incumbent if ended else _best_key(members, v, state.objective.goal),
            )
        )
    return searches


def _best_key(trials: Sequence[Trial], v: Floats, goal: str) -> str | None:
    if not np.isfinite(v).any():
        return None
    return trials[int(np.nanargmax(v) if goal == "max" else np.nanargmin(v))].key


def _value(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _score_arrays(
    runs: Sequence[Scores], subjects: Sequence[str], names: Collection[str]
) -> dict[str, dict[str, Floats]]:
    shape = (len(runs), len(subjects))
    arrays = {region: {metric: np.full(shape, np.nan) for metric in names} for region in REGIONS}
    column = {subject: i for i, subject in enumerate(subjects)}
    for row, scores in enumerate(runs):
        for subject, regions in scores.items():
            for region, metrics in regions.items():
                for metric, value in metrics.items():
                    if region in arrays and metric in names:
                        arrays[region][metric][row, column[subject]] = _value(value)
    return arrays


def _single_run(scores: Scores, subjects: Sequence[str], names: Collection[str]) -> dict[str, dict[str, Floats]]:
    arrays = _score_arrays([scores], subjects, names)
    return {region: {metric: values[0] for metric, values in metrics.items()} for region, metrics in arrays.items()}
