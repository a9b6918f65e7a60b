"""When does a search pay? Break-even, by trainings under equal seeds alone: a seed moves quality by itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from study.analysis.estimators import (
    BreakEven,
    break_even,
    observed_break_even,
    oriented,
    percentile_interval,
    resampled_speed_ups,
)
from study.analysis.inference import Interval
from study.report.evidence import ArmEvidence, Evidence, Floats, SearchEvidence
from study.report.findings.quality import margin_of

RHOS = (0.5, 0.9)

Compared = Literal["equal seeds", "confirmed incumbent"]


@dataclass(frozen=True, kw_only=True)
class BreakEvenFinding:
    """The budget at which the search is as good as the candidate, less the margin."""

    result: BreakEven
    compared: Compared
    """`equal seeds`: every trial with the candidate's training under the search's own seed. `confirmed incumbent`:
    where there is none, the final incumbent trained again under the candidate's seeds, and equal weights."""
    at_most: bool
    """Whether the budget is a bound: incumbents before the final one were not trained under the candidate's seeds."""
    first_trial: bool
    """Whether equal weights, with which every search begins, are what reached it."""
    seeds: Sequence[int]
    """Under which both sides were trained."""
    basis: str
    """`test` or `validation`: the split whose quality is compared."""
    targets: Sequence[float]
    """Of each search that is compared, in the metric's own orientation."""
    exchangeable: bool
    speed_up: float | None
    interval: Interval

    @property
    def num_searches(self) -> int:
        """Searches that are compared."""
        return len(self.targets)


@dataclass(frozen=True, kw_only=True)
class _Target:
    """What a trial must reach: the candidate's mean quality under some seeds, less the margin."""

    value: float
    """Oriented: larger is better."""
    seeds: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class _Match:
    """A search beside what the candidate reached under the same seeds."""

    search: SearchEvidence
    v: Floats
    """Validation values (n,), larger is better."""
    excess: Floats
    """Quality of each trial over its target (n,), 0 or more is reached; -inf where that is not known."""
    target: _Target
    first_target: _Target
    """That of the first trial, where other seeds are known of equal weights."""


def break_evens(evidence: Evidence, candidate: ArmEvidence, reference: ArmEvidence) -> list[BreakEvenFinding]:
    """Break-even at each share of `RHOS`; empty where nothing was trained under equal seeds."""
    trainings = candidate.training_costs()
    searches = [search for search in reference.searches if np.isfinite(search.validation).any()]
    if not len(trainings) or not searches:
        return []
    compared: Compared = "equal seeds"
    alike = [
        search for search in searches if search.seed in candidate.quality_by_seed(evidence.objective, "validation")
    ]
    on_test = all(search.has_test for search in alike)
    matches = [m for s in alike if (m := _under_its_seed(evidence, candidate, s, on_test=on_test)) is not None]
    if not matches:
        compared, on_test = "confirmed incumbent", True
        matches = [m for s in searches if (m := _confirmed(evidence, candidate, reference, s)) is not None]
    if not matches:
        return []
    return [
        _finding(
            matches, trainings, rho, evidence.goal,
            compared=compared, basis="test" if on_test else "validation", exchangeable=reference.exchangeable,
        )
        for rho in RHOS
    ]  # fmt: skip


def _finding(
    matches: Sequence[_Match],
    trainings: Floats,
    rho: float,
    goal: str,
    *,
    compared: Compared,
    basis: str,
    exchangeable: bool,
) -> BreakEvenFinding:
    estimate = _over_orders if exchangeable else _as_observed
    result = estimate(matches, rho)
    by_first = estimate([_first_alone(match) for match in matches], rho)
    first_trial = not result.censored and by_first.device_seconds == result.device_seconds
    targets = [match.first_target if first_trial else match.target for match in matches]
    samples = np.array([])
    if compared == "equal seeds":
        resample = _resampled_trials if exchangeable else _resampled_searches
        samples = resample(matches, trainings, rho)
    low, high = percentile_interval(samples) if len(samples) else (None, None)
    return BreakEvenFinding(
        result=result,
        compared=compared,
        at_most=compared == "confirmed incumbent" and not result.censored and not first_trial,
        first_trial=first_trial,
        seeds=sorted({seed for target in targets for seed in target.seeds}),
        basis=basis,
        targets=[float(oriented(target.value, goal)) for target in targets],
        exchangeable=exchangeable,
        speed_up=None if result.device_seconds is None else result.device_seconds / float(trainings.mean()),
        interval=Interval(low=low, high=high),
    )


# --- what is compared with what -----------------------------------------------------------------------------------


def _under_its_seed(
    evidence: Evidence, candidate: ArmEvidence, search: SearchEvidence, *, on_test: bool
) -> _Match | None:
    """Every trial of a search, beside the candidate's training under the same seed."""
    reached = candidate.quality_by_seed(evidence.objective, "test" if on_test else "validation")
    target = _target(evidence, reached, [search.seed])
    if target is None:
        return None
    v = oriented(search.validation, evidence.goal)
    excess = (oriented(search.test, evidence.goal) if on_test else v) - target.value
    return _Match(search=search, v=v, excess=excess, target=target, first_target=target)


def _confirmed(
    evidence: Evidence, candidate: ArmEvidence, reference: ArmEvidence, search: SearchEvidence
) -> _Match | None:
    """A search of whose trials two are known under the candidate's seeds: its final incumbent by its confirmations,
    and its first trial, equal weights, by the arm of equal weights."""
    metric, goal = evidence.objective, evidence.goal
    reached = candidate.quality_by_seed(metric, "test")
    final = reference.quality_by_seed(metric, "test", search.replicate) if reference.confirmed else {}
    target = _target(evidence, reached, final)
    place = next((i for i, trial in enumerate(search.trials) if trial.key == search.incumbent), None)
    if target is None or place is None:
        return None
    v, excess = oriented(search.validation, goal).copy(), np.full(len(search.trials), -np.inf)
    excess[place] = _over(target, final, goal)
    equal, first_target = evidence.equal, None
    if search.first not in (None, place) and equal is not None and not equal.searches:
        quality = equal.quality_by_seed(metric, "test")
        first_target = _target(evidence, reached, quality)
        if first_target is not None:
            excess[search.first] = _over(first_target, quality, goal)
    v[place] = np.nextafter(v[place], np.inf)  # of equal values the one that was confirmed is the incumbent
    return _Match(search=search, v=v, excess=excess, target=target, first_target=first_target or target)


def _target(evidence: Evidence, reached: Mapping[int, float], seeds: Iterable[int]) -> _Target | None:
    """The candidate's quality under those of the seeds that it was trained under; None where it was under none."""
    shared = sorted(set(seeds) & reached.keys())
    if not shared:
        return None
    quality = oriented([reached[seed] for seed in shared], evidence.goal)
    return _Target(value=float(quality.mean()) - margin_of(evidence, evidence.objective).value, seeds=shared)


def _over(target: _Target, quality: Mapping[int, float], goal: str) -> float:
    """Mean quality under the target's seeds, over the target."""
    return float(oriented([quality[seed] for seed in target.seeds], goal).mean()) - target.value


def _first_alone(match: _Match) -> _Match:
    """The same search, were its first trial the only one that could reach the target."""
    others = np.arange(len(match.excess)) != (-1 if match.search.first is None else match.search.first)
    return replace(match, excess=np.where(others, -np.inf, match.excess))


# --- over orders, or as observed ----------------------------------------------------------------------------------


def _over_orders(matches: Sequence[_Match], rho: float) -> BreakEven:
    """Over random orders of the trials of all searches; each begins with the first trial of one of them."""
    pooled, num_first = _pooled(matches)
    return break_even(*pooled, 0.0, rho, rng=np.random.default_rng(0), num_first=num_first)


def _as_observed(matches: Sequence[_Match], rho: float) -> BreakEven:
    return observed_break_even([(m.v, m.excess, m.search.ends) for m in matches], 0.0, rho)


def _pooled(matches: Sequence[_Match]) -> tuple[tuple[Floats, Floats, Floats], int]:
    """v, excess and costs of all searches' trials, the first ones (equal weights, not drawn) in front; their number."""
    v, excess, costs = (
        np.concatenate(part) for part in zip(*((m.v, m.excess, m.search.costs) for m in matches), strict=True)
    )
    is_first = np.concatenate([np.arange(len(m.v)) == m.search.first for m in matches])
    order = np.argsort(~is_first, kind="stable")
    return (v[order], excess[order], costs[order]), int(is_first.sum())


def _resampled_trials(matches: Sequence[_Match], trainings: Floats, rho: float) -> Floats:
    """Speed-ups over resampled trials and training costs; none where no trial was drawn."""
    pooled, num_first = _pooled(matches)
    if len(pooled[0]) == num_first:
        return np.array([])
    candidate = np.zeros(len(trainings)), trainings  # its quality is in the excess already, seed by seed
    return resampled_speed_ups(pooled, candidate, 0.0, rho, rng=np.random.default_rng(1), num_first=num_first)


def _resampled_searches(matches: Sequence[_Match], trainings: Floats, rho: float, num_resamples: int = 1000) -> Floats:
    """Speed-ups over resampled searches and training costs; none from a single search, which tells nothing of its
    spread."""
    if len(matches) < 2:
        return np.array([])
    rng = np.random.default_rng(1)
    samples = np.full(num_resamples, np.inf)
    for i in range(num_resamples):
        result = _as_observed([matches[j] for j in rng.integers(len(matches), size=len(matches))], rho)
        seeds = rng.integers(len(trainings), size=len(trainings))
        if result.device_seconds is not None:
            samples[i] = result.device_seconds / float(trainings[seeds].mean())
    return samples
