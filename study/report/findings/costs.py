"""How much cheaper is it? The paid ratio, and what each search got for its money."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search_spaces.importance import importances
from study.analysis.estimators import (
    area_over_log_cost,
    hypervolume,
    normalised_regret,
    oriented,
    pareto_front,
    running_incumbent,
)
from study.analysis.inference import Interval, log_ratio_interval
from study.report.evidence import ArmEvidence, Evidence, Floats, SearchEvidence, mean


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
    """Mean over ln cost of the anytime regret: 0 at the best test quality known, 1 at equal weights, both under the
    search's own seed."""
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
    return [_search_finding(evidence, arm, search) for arm in evidence.of_role("tuned") for search in arm.searches]


def _scale_of_regret(evidence: Evidence, seed: int) -> tuple[float, float] | None:
    """Test quality, oriented, of the best and of equal weights among what was trained under one seed; None where
    equal weights were not."""
    metric, goal = evidence.objective, evidence.goal
    searches = [s for arm in evidence.of_role("tuned") for s in arm.searches if s.seed == seed]
    equal = [float(s.test[s.first]) for s in searches if s.first is not None]
    known = [float(value) for s in searches for value in s.test]
    for arm in evidence.arms.values():
        quality = arm.quality_by_seed(metric, "test").get(seed)
        if quality is not None:
            known.append(quality)
            if arm.strategy == "equal":
                equal.append(quality)
    known, equal = ([float(oriented(q, goal)) for q in values if np.isfinite(q)] for values in (known, equal))
    return (max(known), sum(equal) / len(equal)) if equal else None


def _search_finding(evidence: Evidence, arm: ArmEvidence, search: SearchEvidence) -> SearchFinding:
    best = running_incumbent(oriented(search.validation, evidence.goal))
    last = int(best[-1])
    regret, scale = None, _scale_of_regret(evidence, search.seed)
    if scale is not None and search.has_test:
        known = best >= 0
        values = normalised_regret(oriented(search.test, evidence.goal)[best[known]], *scale)
        regret = area_over_log_cost(search.ends[known], values)
    drawn = [i for i, t in enumerate(search.trials) if arm.space and t.params.keys() == arm.space.keys()]
    drawn = [i for i in drawn if np.isfinite(search.validation[i])]
    return SearchFinding(
        arm=arm.name,
        replicate=search.replicate,
        num_trials=len(search.trials),
        device_seconds=float(search.costs.sum()),
        incumbent=search.incumbent,
        validation=None if last < 0 else float(search.validation[last]),
        test=None if last < 0 or not np.isfinite(search.test[last]) else float(search.test[last]),
        regret=regret,
        importances=importances(
            [search.trials[i].params for i in drawn],
            search.validation[drawn].tolist(),
            goal=evidence.goal,
            space=arm.space,
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
