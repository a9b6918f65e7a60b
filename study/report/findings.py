"""From evidence to findings: is the automatic arm as good, how much cheaper, and how sure is that?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from study.analysis.estimators import (
    BreakEven,
    break_even,
    observed_break_even,
    oriented,
    percentile_interval,
    resampled_speed_ups,
)
from study.analysis.inference import (
    Interval,
    MixedModel,
    Paired,
    Verdict,
    holm,
    judge,
    log_ratio_interval,
    mixed_model,
    paired,
)
from study.report.evidence import ArmEvidence, Evidence, Floats, SearchEvidence
from study.report.quantities import QUANTITIES, REGIONS

RHOS = (0.5, 0.9)


@dataclass(frozen=True, kw_only=True)
class Margin:
    """The largest loss of quality that still counts as `as good`, in the metric's unit."""

    value: float
    source: str
    """`configuration`; `half the gain of tuning over equal weights on validation`; or why it is 0."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Candidate against reference in one metric and region; differences are oriented so that + favours the candidate."""

    metric: str
    region: str
    d: Floats
    """Paired difference of each test subject (subjects,); NaN where one side has no score."""
    paired: Paired
    margin: Margin
    verdict: Verdict
    mixed: MixedModel | None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Candidate against another arm in one metric, in mask."""

    arm: str
    metric: str
    paired: Paired
    p_holm: float | None
    """Wilcoxon p, adjusted over the candidate's pairs in this metric."""


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
class Findings:
    """Everything the page says, as numbers."""

    evidence: Evidence
    comparisons: dict[str, dict[str, Comparison]]
    """region -> metric."""
    pairs: Sequence[Pair]
    cost_ratio: CostRatio | None
    break_evens: Sequence[BreakEvenFinding]

    @property
    def decisive(self) -> dict[str, Comparison]:
        """The comparisons that decide: in mask."""
        return self.comparisons.get("mask", {})

    @cached_property
    def num_paired(self) -> int:
        """Test subjects that both sides have scores for."""
        return max((c.paired.num_subjects for c in self.decisive.values()), default=0)


def find(evidence: Evidence) -> Findings:
    """Does the statistics of a study. What cannot be computed is absent, never a guess."""
    candidate, reference = evidence.candidate, evidence.reference
    comparisons: dict[str, dict[str, Comparison]] = {}
    if candidate and reference:
        for region in REGIONS:
            found = {m: _compare(evidence, candidate, reference, m, region) for m in QUANTITIES}
            comparisons[region] = {metric: c for metric, c in found.items() if c is not None}
    ratio = _cost_ratio(candidate, reference) if candidate and reference else None
    return Findings(
        evidence=evidence,
        comparisons=comparisons,
        pairs=_pairs(evidence, candidate) if candidate else [],
        cost_ratio=ratio,
        break_evens=_break_evens(evidence, candidate, reference) if candidate and reference else [],
    )


# --- quality ----------------------------------------------------------------------------------------------------


def margin_of(evidence: Evidence, metric: str) -> Margin:
    """The margin of a metric: the configured one, else half of what tuning gained on validation."""
    configured = (evidence.settings.get("margin") or {}).get(metric)
    if configured is not None:
        return Margin(value=float(configured), source="configuration")
    equal, reference = evidence.arms.get("equal"), evidence.reference
    values = [mean(arm.validation[metric]) if arm else None for arm in (reference, equal)]
    if values[0] is None or values[1] is None:
        return Margin(value=0.0, source="0, for lack of validation values of tuned and equal weights")
    gain = float(oriented(values[0] - values[1], QUANTITIES[metric].goal))
    if gain <= 0:
        return Margin(value=0.0, source="0, because tuning gained nothing over equal weights on validation")
    return Margin(value=gain / 2, source="half the gain of tuning over equal weights on validation")


def mean(values: Floats) -> float | None:
    """Mean of the finite values, None if there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def differences(arm: ArmEvidence, other: ArmEvidence, region: str, metric: str) -> Floats:
    """Paired differences (subjects,), oriented so that + favours `arm`; NaN where one side has no score."""
    d = arm.per_subject(region, metric) - other.per_subject(region, metric)
    return oriented(d, QUANTITIES[metric].goal)


def _compare(
    evidence: Evidence, candidate: ArmEvidence, reference: ArmEvidence, metric: str, region: str
) -> Comparison | None:
    d = differences(candidate, reference, region, metric)
    result = paired(d)
    if result is None:
        return None
    margin = margin_of(evidence, metric)
    runs = [oriented(arm.scores[region][metric], QUANTITIES[metric].goal) for arm in (candidate, reference)]
    common = np.isfinite(np.vstack(runs)).all(axis=0)
    mixed = mixed_model(runs[0][:, common], runs[1][:, common]) if region == "mask" else None
    return Comparison(
        metric=metric,
        region=region,
        d=d,
        paired=result,
        margin=margin,
        verdict=judge(result.t, margin.value),
        mixed=mixed,
    )


def _pairs(evidence: Evidence, candidate: ArmEvidence) -> list[Pair]:
    pairs: list[Pair] = []
    others = [arm for arm in evidence.arms.values() if arm is not candidate]
    for metric in QUANTITIES:
        results = {arm.name: paired(differences(candidate, arm, "mask", metric)) for arm in others}
        known = {name: result for name, result in results.items() if result is not None}
        adjusted = holm([result.p_wilcoxon for result in known.values()])
        pairs += [
            Pair(arm=name, metric=metric, paired=result, p_holm=p)
            for (name, result), p in zip(known.items(), adjusted, strict=True)
        ]
    return pairs


# --- cost -------------------------------------------------------------------------------------------------------


def _cost_ratio(candidate: ArmEvidence, reference: ArmEvidence) -> CostRatio | None:
    trainings = candidate.training_costs()
    if not len(trainings) or not reference.searches or not trainings.mean() > 0:
        return None
    costs = np.concatenate([search.costs for search in reference.searches])
    num_searches = len(reference.searches)
    search, num_trials = float(costs.sum()) / num_searches, len(costs) / num_searches
    confirmation = reference.cost["confirmation"] / num_searches
    return CostRatio(
        training=float(trainings.mean()),
        search=search,
        num_trials=num_trials,
        value=search / float(trainings.mean()),
        interval=log_ratio_interval(costs, trainings, count=num_trials),
        with_confirmations=(search + confirmation) / candidate.cost["training"] if confirmation else None,
    )


def _break_evens(
    evidence: Evidence, candidate: ArmEvidence, reference: ArmEvidence
) -> list[BreakEvenFinding]:
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
