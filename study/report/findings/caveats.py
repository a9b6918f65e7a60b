"""What would weaken the claim, said beside it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from study.analysis.estimators import oriented
from study.analysis.inference import margin_for_power
from study.record.state import Trial
from study.report.evidence import ArmEvidence, Evidence, mean
from study.report.findings.findings import Findings
from study.report.findings.quality import Comparison
from study.report.findings.resumed import changes
from study.report.formats import OUTCOMES, QUANTITIES, clean, count, enumerated, number, percent, seconds

TRIALS_PER_WEIGHT = 10
FEW_SUBJECTS = 10
POWER = 0.8
STEPS_TOLERANCE = 0.01
EDGE = 0.98
"""Share of the way from the middle of a dimension to its bound beyond which an incumbent counts as at the edge."""


@dataclass(frozen=True, kw_only=True)
class Caveat:
    """One thing that weakens the claim."""

    key: str
    text: str


def caveats_of(findings: Findings) -> list[Caveat]:
    """All of them, the heaviest first."""
    evidence = findings.evidence
    found = [*_study(evidence), *_devices(evidence), *_runs(findings), *_fixed(evidence)]
    if evidence.reference is not None:
        found += _search(evidence, evidence.reference)
    for arm in (evidence.candidate, evidence.reference):
        if arm is not None:
            found += [*_seeds(arm), *_edge(arm)]
    found += _statistics(findings)
    found += _fairness(evidence)
    return found + [Caveat(key="note", text=clean(note)) for note in evidence.state.notes]


def _study(evidence: Evidence) -> Iterator[Caveat]:
    state = evidence.state
    if not state.finished:
        still = count(sum(trial.state.is_open for trial in state.trials.values()), "trial")
        yield Caveat(key="unfinished", text=f"The study is not finished ({still} open); every number may still move.")
    if evidence.simulated:
        text = "The images are simulated: what holds on a virtual cohort need not hold on patients."
        yield Caveat(key="simulated", text=text)
    if 0 < len(evidence.subjects) < FEW_SUBJECTS:
        text = f"There are only {count(len(evidence.subjects), 'test subject')}: intervals of so few are fragile."
        yield Caveat(key="few_subjects", text=text)


def _devices(evidence: Evidence) -> Iterator[Caveat]:
    devices = devices_of(evidence.state.trials.values())
    if len(devices) > 1:
        text = f"Trials ran on different devices ({enumerated(devices)}): a second is not a second."
        yield Caveat(key="mixed_hardware", text=text)
    changed = [
        f"{clean(name)} {clean(', then '.join(found))}" for name, found in changes(evidence.state.drivers).items()
    ]
    if changed:
        text = f"The study was resumed on others than it began with, which may move numbers: {'; '.join(changed)}."
        yield Caveat(key="resumed_on_others", text=text)


def devices_of(trials: Iterable[Trial]) -> list[str]:
    """Names of the devices that trials ran on."""
    return sorted({clean(attempt.device.name) for trial in trials for attempt in trial.attempts if attempt.device})


def _seeds(arm: ArmEvidence) -> Iterator[Caveat]:
    name = clean(arm.label)
    if len(arm.judged) == 1:
        text = f"{name} was judged by one training: the claim is about one checkpoint, not about the method."
        yield Caveat(key="one_seed", text=text)
    if arm.judged and not arm.confirmed:
        text = f"The incumbent of {name} was not trained again under fresh seeds; its own trial stands in."
        yield Caveat(key="unconfirmed", text=text)


def _search(evidence: Evidence, reference: ArmEvidence) -> Iterator[Caveat]:
    name, searches = clean(reference.label), reference.searches
    if len(searches) == 1:
        text = f"{name} was searched once; another search could end elsewhere, and that spread was not measured."
        yield Caveat(key="one_search", text=text)
    weights = max(1, len(evidence.terms) - 1)
    trials = max((len(search.trials) for search in searches), default=0)
    if 0 < trials < TRIALS_PER_WEIGHT * weights:
        text = f"{count(trials, 'trial')} a search is little for {count(weights, 'free weight')}; more may find better."
        yield Caveat(key="few_trials", text=text)
    if any(trial.state == "pruned" for search in searches for trial in search.trials):
        text = f"{name} stopped bad trials early, and what it stopped was never validated at full length."
        yield Caveat(key="pruned", text=text)


def _edge(arm: ArmEvidence) -> Iterator[Caveat]:
    best = {search.incumbent for search in arm.searches}
    points = [t.params for search in arm.searches for t in search.trials if t.key in best]
    at = {d: None for p in points for d, bounds in arm.space.items() if d in p and abs(bounds.place(p[d])) > EDGE}
    if at:
        where = enumerated([clean(dimension) for dimension in at])
        text = f"An incumbent of {clean(arm.label)} lies at the edge of its space ({where}): better may lie outside."
        yield Caveat(key="edge_of_space", text=text)


def _runs(findings: Findings) -> Iterator[Caveat]:
    changed: dict[str, list[str]] = {}
    for c in findings.decisive.values():
        if c.mixed is not None and c.outcome_of_runs is not None and c.outcome_of_runs != c.outcome:
            quantity = QUANTITIES[c.metric]
            interval = quantity.between(c.mixed.low, c.mixed.high)
            changed.setdefault(OUTCOMES[c.outcome_of_runs], []).append(f"{quantity.label} ({interval})")
    if changed:
        anew = "; ".join(f"{words} in {enumerated(metrics)}" for words, metrics in changed.items())
        text = (
            "The verdict is about these trained models. Asked about trainings anew, with the spread between seeds "
            f"counted (mixed model), it would be {anew}."
        )
        yield Caveat(key="runs_change_verdict", text=text)


def _fixed(evidence: Evidence) -> Iterator[Caveat]:
    """A single loss that beats the search says that the search did not go far enough."""
    reference = evidence.reference
    if reference is None or not reference.judged:
        return
    scores = {
        arm.name: mean(oriented(arm.per_subject("mask", evidence.objective), evidence.goal))
        for arm in [reference, *evidence.of_role("fixed")]
        if arm.judged
    }
    tuned = scores.pop(reference.name)
    if tuned is None:
        return
    better = [clean(name) for name, score in scores.items() if score is not None and score > tuned]
    if better:
        text = (
            f"{enumerated(better)} needed no search and had a better {evidence.selecting.label} than "
            f"{clean(reference.label)}: the search did not find such weights, or its space does not hold them."
        )
        yield Caveat(key="fixed_arm_better", text=text)


def _statistics(findings: Findings) -> Iterator[Caveat]:
    comparisons = list(findings.decisive.values())
    worse = [QUANTITIES[c.metric].label for c in comparisons if c.outcome == "non-inferior, worse"]
    if worse:
        text = f"In {enumerated(worse)} the difference is real: non-inferior means that it is smaller than the margin."
        yield Caveat(key="worse_within_margin", text=text)
    zero = [c for c in comparisons if c.margin.value == 0]
    if zero:
        names = enumerated([QUANTITIES[c.metric].label for c in zero])
        reason = zero[0].margin.source.removeprefix("0, ")
        why = "" if reason == "configuration" else f" ({reason})"
        text = f"The margin in {names} is 0{why}: non-inferior means better there."
        yield Caveat(key="zero_margin", text=text)
    if any(c.margin.source != "configuration" and c.margin.value > 0 for c in comparisons):
        text = (
            "The margin was not written down beforehand: it is half of what tuning gained over equal weights on "
            "validation. No test result enters it, but it moves with the search."
        )
        yield Caveat(key="default_margin", text=text)
    weak = [QUANTITIES[c.metric].label for c in comparisons if _too_fine(c)]
    if weak:
        text = (
            f"In {enumerated(weak)} the margin is finer than {findings.num_paired} subjects resolve with "
            f"{percent(POWER)} power."
        )
        yield Caveat(key="low_power", text=text)
    if any(c.mixed is None for c in comparisons):
        text = "With fewer than two seeds a side, the spread between trainings is in none of the intervals."
        yield Caveat(key="no_run_effect", text=text)
    if any(f.result.censored for f in findings.break_evens):
        text = "Break-even was not reached within what was spent (censored): a larger budget could have reached it."
        yield Caveat(key="censored", text=text)
    if findings.break_evens and findings.break_evens[0].basis == "validation":
        text = "Trials of the search have no test scores, so break-even compares validation quality."
        yield Caveat(key="validation_basis", text=text)


def _too_fine(comparison: Comparison) -> bool:
    sd, n = comparison.paired.sd, comparison.paired.num_subjects
    return bool(sd) and comparison.margin.value < margin_for_power(sd or 0.0, n, power=POWER)


def _fairness(evidence: Evidence) -> Iterator[Caveat]:
    trials = evidence.state.trials.values()
    shares = sorted({a.share for trial in trials for a in trial.attempts})
    if shares and shares[0] < 1:
        text = f"Trials shared a device ({number(shares[0], 2)} each): their seconds depend on their neighbours."
        yield Caveat(key="shared_devices", text=text)
    steps = [t.measurements[-1].step for t in trials if t.state == "complete" and t.measurements]
    if steps and max(steps) - min(steps) > STEPS_TOLERANCE * max(steps):
        text = f"Trainings differ in length ({min(steps)} to {max(steps)} steps): they are not like for like."
        yield Caveat(key="unequal_steps", text=text)
    failed = [trial for trial in trials if trial.state == "failed"]
    if failed:
        cost = seconds(float(np.sum([trial.device_seconds for trial in failed])))
        text = f"{count(len(failed), 'trial')} failed; the {cost} they cost are counted in their arms."
        yield Caveat(key="failed", text=text)
