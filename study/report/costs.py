"""How much cheaper is it? The paid ratio, break-even, and what each search got for its money."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search_spaces.importance import importances
from study.analysis.estimators import (
    BreakEven,
    area_over_log_cost,
    break_even,
    hypervolume,
    normalised_regret,
    observed_break_even,
    oriented,
    pareto_front,
    percentile_interval,
    resampled_speed_ups,
    running_incumbent,
)
from study.analysis.inference import Interval, log_ratio_interval
from study.report.evidence import ArmEvidence, Evidence, Floats, SearchEvidence, mean, nanmean
from study.report.quality import margin_of

RHOS = (0.5, 0.9)


@dataclass(frozen=True, kw_only=True)
class CostRatio:
    """What the search paid over what one automatic training paid."""

    training: float
    """Device-seconds of one training of the candidate, mean over its seeds."""
    search: float
    """Device-seconds of one search of the reference, mean over its replicates."""
    num_trials: float
    """Trials of one search, mean over replicates."""
    value: float
    interval: Interval
    with_confirmations: float | None
    """The ratio with the confirmations of one search beside all seeds of the candidate; None while there are none."""


@dataclass(frozen=True, kw_only=True)
class BreakEvenFinding:
    """The budget at which the search is as good as the candidate, less the margin."""

    result: BreakEven
    basis: str
    """`test` or `validation`: the split whose quality is compared."""
    target: float
    """In the metric's own orientation."""
    exchangeable: bool
    num_searches: int
    speed_up: float | None
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class SearchFinding:
    """What one search got for its money."""

    arm: str
    replicate: int
    num_trials: int
    device_seconds: float
    incumbent: str | None
    validation: float | None
    """The incumbent's validated objective."""
    test: float | None
    """The same metric of the incumbent's own trial on the test subjects."""
    regret: float | None
    """Mean over ln cost of the anytime regret: 0 at the best test quality known, 1 at equal weights."""
    importances: dict[str, float]
    """Share of each free weight in what made trials good or bad (PED-ANOVA); empty for few trials."""


@dataclass(frozen=True, kw_only=True)
class Front:
    """Which arms no other arm beats in cost and test quality."""

    arms: Sequence[str]
    hypervolume: float | None
    """Share dominated of the box between the cheapest and the dearest, the worst and the best arm (ln cost)."""
    hypervolume_without_automatic: float | None


def cost_ratio(candidate: ArmEvidence, reference: ArmEvidence) -> CostRatio | None:
    trainings = candidate.training_costs()
    if not len(trainings) or not reference.searches or not trainings.mean() > 0:
        return None
    costs, num_trials = _costs_of_trials(reference)
    # Where the learning rate is tuned, the candidate is searched as well: its cost is a sum of trials, too.
    parts, num_parts = _costs_of_trials(candidate) if candidate.searches else (trainings, 1.0)
    num_searches = len(reference.searches)
    search = float(costs.sum()) / num_searches
    confirmation = reference.cost["confirmation"] / num_searches
    return CostRatio(
        training=float(trainings.mean()),
        search=search,
        num_trials=num_trials,
        value=search / float(trainings.mean()),
        interval=log_ratio_interval(costs, parts, count=num_trials / num_parts),
        with_confirmations=(search + confirmation) / candidate.cost["total"] if confirmation else None,
    )


def _costs_of_trials(arm: ArmEvidence) -> tuple[Floats, float]:
    """Cost of every trial of an arm's searches (trials,), and the mean number of trials of a search."""
    costs = np.concatenate([search.costs for search in arm.searches])
    return costs, len(costs) / len(arm.searches)


def break_evens(evidence: Evidence, candidate: ArmEvidence, reference: ArmEvidence) -> list[BreakEvenFinding]:
    searches = [search for search in reference.searches if np.isfinite(search.v).any()]
    trainings = candidate.training_costs()
    if not searches or not len(trainings):
        return []
    metric, goal = evidence.objective, evidence.goal
    on_test = all(search.has_test for search in searches)
    quality = candidate.scores["mask"][metric] if on_test else candidate.validation[metric]
    by_seed = oriented([m for row in quality if (m := mean(np.atleast_1d(row))) is not None], goal)
    if not len(by_seed):
        return []
    margin = margin_of(evidence, metric).value
    target = float(by_seed.mean()) - margin
    prepared = [_oriented_search(search, goal, on_test) for search in searches]
    found = []
    for rho in RHOS:
        if reference.exchangeable:
            result, samples = _exchangeable(prepared, (by_seed, trainings), target, margin, rho)
        else:
            result = observed_break_even([(v, t, np.cumsum(c)) for v, t, c in prepared], target, rho)
            samples = _resampled_searches(prepared, (by_seed, trainings), margin, rho)
        low, high = percentile_interval(samples) if len(samples) else (None, None)
        cost = float(trainings.mean())
        found.append(
            BreakEvenFinding(
                result=result,
                basis="test" if on_test else "validation",
                target=target if goal == "max" else -target,
                exchangeable=reference.exchangeable,
                num_searches=len(searches),
                speed_up=None if result.device_seconds is None else result.device_seconds / cost,
                interval=Interval(low=low, high=high),
            )
        )
    return found


Oriented = tuple[Floats, Floats, Floats]
"""v, t and costs of a search, larger v and t better."""


def _oriented_search(search: SearchEvidence, goal: str, on_test: bool) -> Oriented:
    v = oriented(search.v, goal)
    return v, oriented(search.t, goal) if on_test else v, search.costs


def _exchangeable(
    searches: Sequence[Oriented], training: tuple[Floats, Floats], target: float, margin: float, rho: float
) -> tuple[BreakEven, Floats]:
    """All replicates pooled. Their first trials (equal weights, not drawn at random) are charged but not drawn."""
    v, t, costs = (np.concatenate([search[i][1:] for search in searches]) for i in range(3))
    first = float(np.mean([search[2][0] for search in searches]))
    if not len(v):
        return BreakEven(rho=rho, device_seconds=None, num_trials=None, budget=first), np.array([])
    drawn = break_even(v, t, costs, target, rho, rng=np.random.default_rng(0))
    samples = resampled_speed_ups((v, t, costs), training, margin, rho, rng=np.random.default_rng(1))
    charged = BreakEven(
        rho=rho,
        device_seconds=None if drawn.device_seconds is None else drawn.device_seconds + first,
        num_trials=None if drawn.num_trials is None else drawn.num_trials + 1,
        budget=drawn.budget + first,
    )
    return charged, samples + first / float(training[1].mean())


def _resampled_searches(
    searches: Sequence[Oriented],
    training: tuple[Floats, Floats],
    margin: float,
    rho: float,
    num_resamples: int = 1000,
) -> Floats:
    """Speed-ups over resampled replicates and seeds; none from a single search, which tells nothing of its spread."""
    if len(searches) < 2:
        return np.array([])
    rng = np.random.default_rng(1)
    quality, costs = training
    samples = np.full(num_resamples, np.inf)
    for i in range(num_resamples):
        chosen = [searches[j] for j in rng.integers(len(searches), size=len(searches))]
        seeds = rng.integers(len(quality), size=len(quality))
        target = float(quality[seeds].mean()) - margin
        result = observed_break_even([(v, t, np.cumsum(c)) for v, t, c in chosen], target, rho)
        if result.device_seconds is not None:
            samples[i] = result.device_seconds / float(costs[seeds].mean())
    return samples


# --- searches -----------------------------------------------------------------------------------------------------


Mark = tuple[float, float]
"""What one use of an arm costs in device-seconds, and its mean quality."""


def arm_mark(arm: ArmEvidence, metric: str, split: str = "test") -> Mark | None:
    """Where an arm stands: one training, or one search, and the mean of its seeds; None if either is unknown."""
    costs = arm.training_costs()
    quality = mean(arm.scores["mask"][metric]) if split == "test" else mean(arm.validation[metric])
    if quality is None or not costs.sum() > 0:
        return None
    return float(costs.mean()), quality


def search_findings(evidence: Evidence) -> list[SearchFinding]:
    """One finding a replicate of every tuned arm."""
    goal, metric = evidence.goal, evidence.objective
    known = [oriented(search.t, goal) for arm in evidence.of_role("tuned") for search in arm.searches]
    known += [oriented(nanmean(arm.scores["mask"][metric].T), goal) for arm in evidence.arms.values()]
    finite = np.concatenate([values[np.isfinite(values)] for values in known]) if known else np.array([])
    equal = evidence.equal
    floor = mean(equal.scores["mask"][metric]) if equal else None
    best = float(finite.max()) if len(finite) else None
    scale = None if best is None or floor is None else (best, float(oriented(floor, goal)))
    return [
        _search_finding(evidence, arm, search, scale) for arm in evidence.of_role("tuned") for search in arm.searches
    ]


def _search_finding(
    evidence: Evidence, arm: ArmEvidence, search: SearchEvidence, scale: tuple[float, float] | None
) -> SearchFinding:
    best = running_incumbent(oriented(search.v, evidence.goal))
    last = int(best[-1])
    regret = None
    if scale is not None and search.has_test:
        known = best >= 0
        values = normalised_regret(oriented(search.t, evidence.goal)[best[known]], *scale)
        regret = area_over_log_cost(search.ends[known], values)
    drawn = [i for i, t in enumerate(search.trials) if arm.space and t.params.keys() == arm.space.keys()]
    drawn = [i for i in drawn if np.isfinite(search.v[i])]
    return SearchFinding(
        arm=arm.name,
        replicate=search.replicate,
        num_trials=len(search.trials),
        device_seconds=float(search.costs.sum()),
        incumbent=search.incumbent,
        validation=None if last < 0 else float(search.v[last]),
        test=None if last < 0 or not np.isfinite(search.t[last]) else float(search.t[last]),
        regret=regret,
        importances=importances(
            [search.trials[i].params for i in drawn], search.v[drawn].tolist(), goal=evidence.goal, space=arm.space
        ),
    )


def front_of_arms(evidence: Evidence) -> Front:
    """Pareto front of the arms' marks and its hypervolume, with and without the automatic arms."""
    marks = {name: m for name, arm in evidence.arms.items() if (m := arm_mark(arm, evidence.objective)) is not None}
    if not marks:
        return Front(arms=[], hypervolume=None, hypervolume_without_automatic=None)
    cost = np.log([mark[0] for mark in marks.values()])
    quality = oriented([mark[1] for mark in marks.values()], evidence.goal)
    automatic = np.array([evidence.arms[name].role == "automatic" for name in marks])
    box = float(np.ptp(cost) * np.ptp(quality))
    corner = (float(cost.max()), float(quality.min()))
    return Front(
        arms=[list(marks)[i] for i in pareto_front(cost, quality)],
        hypervolume=hypervolume(cost, quality, corner) / box if box > 0 else None,
        hypervolume_without_automatic=(
            hypervolume(cost[~automatic], quality[~automatic], corner) / box if box > 0 else None
        ),
    )
