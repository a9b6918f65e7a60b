"""Is the automatic arm as good? Paired comparisons on the test subjects, and the margin they are judged by."""

from dataclasses import dataclass

import numpy as np

from study.analysis.estimators import oriented
from study.analysis.inference import (
    Interval,
    MixedModel,
    Outcome,
    Paired,
    Verdict,
    holm,
    judge,
    mixed_model,
    outcome,
    paired,
)
from study.report.evidence import ArmEvidence, Evidence, Floats, mean
from study.report.formats import QUANTITIES


@dataclass(frozen=True, kw_only=True)
class Margin:
    """The largest loss of quality that still counts as `as good`, in the metric's unit."""

    value: float
    source: str
    """`configuration`; `half the gain of tuning over equal weights on validation`; or why it is 0."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Candidate against reference in one metric and region; differences oriented so that + favours the candidate."""

    metric: str
    region: str
    differences: Floats
    """Paired difference of each test subject (subjects,); NaN where one side has no score."""
    paired: Paired
    margin: Margin
    verdict: Verdict
    mixed: MixedModel | None

    @property
    def outcome(self) -> Outcome:
        """The verdict, and whether the candidate is shown to be worse."""
        return outcome(self.paired.t, self.margin.value)

    @property
    def interval_of_runs(self) -> Interval | None:
        """The interval if another set of trainings is asked about; None where runs are too few."""
        return None if self.mixed is None else Interval(low=self.mixed.low, high=self.mixed.high)

    @property
    def outcome_of_runs(self) -> Outcome | None:
        """What the outcome would be if another set of trainings were asked about."""
        return None if self.interval_of_runs is None else outcome(self.interval_of_runs, self.margin.value)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Candidate against another arm in one metric, in mask."""

    arm: str
    metric: str
    paired: Paired
    p_holm: float | None
    """Wilcoxon p, adjusted over the candidate's pairs in this metric."""


def margin_of(evidence: Evidence, metric: str) -> Margin:
    """The margin of a metric: the configured one, else half of what tuning gained on validation."""
    configured = (evidence.settings.get("margin") or {}).get(metric)
    if configured is not None:
        return Margin(value=float(configured), source="configuration")
    equal, reference = evidence.equal, evidence.reference
    values = [mean(arm.validation[metric]) if arm else None for arm in (reference, equal)]
    if values[0] is None or values[1] is None:
        return Margin(value=0.0, source="0, for lack of validation values of tuned and equal weights")
    gain = float(oriented(values[0] - values[1], evidence.quantities[metric].goal))
    if gain <= 0:
        return Margin(value=0.0, source="0, because tuning gained nothing over equal weights on validation")
    return Margin(value=gain / 2, source="half the gain of tuning over equal weights on validation")


def differences(arm: ArmEvidence, other: ArmEvidence, region: str, metric: str) -> Floats:
    """Paired differences (subjects,), oriented so that + favours `arm`; NaN where one side has no score."""
    d = arm.per_subject(region, metric) - other.per_subject(region, metric)
    return oriented(d, QUANTITIES[metric].goal)


def compare(
    evidence: Evidence, candidate: ArmEvidence, reference: ArmEvidence, metric: str, region: str
) -> Comparison | None:
    """Compares two arms; None where no test subject has a score of both."""
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
        differences=d,
        paired=result,
        margin=margin,
        verdict=judge(result.t, margin.value),
        mixed=mixed,
    )


def compare_with_all(evidence: Evidence, candidate: ArmEvidence) -> list[Pair]:
    pairs: list[Pair] = []
    others = [arm for arm in evidence.arms.values() if arm is not candidate]
    for metric in QUANTITIES:
        results = {arm.name: paired(differences(candidate, arm, "mask", metric), num_resamples=0) for arm in others}
        known = {name: result for name, result in results.items() if result is not None}
        adjusted = holm([result.p_wilcoxon for result in known.values()])
        pairs += [
            Pair(arm=name, metric=metric, paired=result, p_holm=p)
            for (name, result), p in zip(known.items(), adjusted, strict=True)
        ]
    return pairs
