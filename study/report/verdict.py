"""The answer in words, and what would weaken it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from study.analysis.inference import margin_for_power
from study.report.evidence import ArmEvidence, Evidence
from study.report.findings import BreakEvenFinding, Comparison, Findings
from study.report.quantities import QUANTITIES, count, number, seconds, times
from study.report.text import clean

PHRASES: Mapping[str, str] = {
    "superior": "better in",
    "non-inferior": "non-inferior in",
    "inconclusive": "undecided in",
    "inferior": "inferior in",
    "not testable": "not testable in",
}
FEW_TRIALS_PER_DIMENSION = 10
FEW_SUBJECTS = 10


@dataclass(frozen=True, kw_only=True)
class Caveat:
    """One thing that weakens the claim."""

    key: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the page opens with."""

    headline: str
    cost: str
    break_even: str
    metrics: Sequence[str]
    """One sentence a metric, with its numbers."""
    caveats: Sequence[Caveat]


def put_into_words(findings: Findings) -> Words:
    """Says what was found; where something is missing, says what."""
    return Words(
        headline=_headline(findings),
        cost=_cost(findings),
        break_even=_break_even(findings),
        metrics=[_metric(findings, comparison) for comparison in findings.decisive.values()],
        caveats=_caveats(findings),
    )


def name_of(arm: ArmEvidence | None, default: str) -> str:
    """An arm's name, fit for a sentence."""
    return clean(arm.label) if arm is not None else default


def enumerated(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _headline(findings: Findings) -> str:
    evidence = findings.evidence
    candidate, reference = evidence.candidate, evidence.reference
    if candidate is None:
        return "This study has no automatic arm, so there is nothing to compare with hand-tuned weights."
    if reference is None:
        return f"This study has no hand-tuned arm, so {name_of(candidate, '')} has nothing to be compared with."
    if not findings.decisive:
        lacking = [name_of(arm, "") for arm in (candidate, reference) if not arm.judged]
        why = f"no test scores of {enumerated(lacking)}" if lacking else "no test subject that both have scores for"
        return f"No verdict on {name_of(candidate, '')} against {name_of(reference, '')}{_so_far(evidence)}: {why}."
    by_verdict: dict[str, list[str]] = {}
    for comparison in findings.decisive.values():
        by_verdict.setdefault(comparison.verdict, []).append(QUANTITIES[comparison.metric].label)
    parts = [f"{phrase} {enumerated(by_verdict[verdict])}" for verdict, phrase in PHRASES.items() if verdict in by_verdict]
    return f"{name_of(candidate, '')} against {name_of(reference, '')}: {', '.join(parts)}{_so_far(evidence)}."


def _so_far(evidence: Evidence) -> str:
    return "" if evidence.state.finished else " (the study is not finished)"


def _metric(findings: Findings, comparison: Comparison) -> str:
    quantity, found = QUANTITIES[comparison.metric], comparison.paired
    text = f"{quantity.label}: {quantity.format(found.difference, signed=True, unit=True)}"
    if found.t.low is not None and found.t.high is not None:
        low, high = (number(end, quantity.decimals, signed=True) for end in (found.t.low, found.t.high))
        text += f" (95 % CI {low} to {high})"
    return f"{text}, margin {quantity.format(comparison.margin.value, unit=True)}: {comparison.verdict}"


def _cost(findings: Findings) -> str:
    ratio = findings.cost_ratio
    evidence = findings.evidence
    if ratio is None:
        return "The cost ratio is not known yet: it needs one finished training and one search."
    candidate, reference = name_of(evidence.candidate, ""), name_of(evidence.reference, "")
    interval = ratio.interval
    spread = ""
    if interval.low is not None and interval.high is not None:
        spread = f" (95 % CI {times(interval.low).removesuffix(' ×')} to {times(interval.high).removesuffix(' ×')})"
    trials = count(round(ratio.num_trials), "trial")
    return (
        f"One training of {candidate} cost {seconds(ratio.training)} of device time, one search of {reference} "
        f"({trials}) {seconds(ratio.search)}: {times(ratio.value)} as much{spread}."
    )


def _break_even(findings: Findings) -> str:
    found = findings.break_evens
    evidence = findings.evidence
    if not found:
        return "Break-even is not known: no search has a validated trial to compare with."
    first = found[0]
    quantity = QUANTITIES[evidence.objective]
    goal = f"{name_of(evidence.candidate, '')}’s {quantity.label} less the margin on the {first.basis} subjects"
    reference = name_of(evidence.reference, "")
    if not first.exchangeable and first.num_searches == 1:
        if first.result.device_seconds is None:
            return f"The one search of {reference} never reached {goal}: break-even is beyond {seconds(first.result.budget)}."
        return (
            f"The one search of {reference} reached {goal} after {_reached(first)}; another search could have done so "
            "sooner or later."
        )
    parts = [f"with probability {f.result.rho:.0%} {_reached_or_not(f)}" for f in found]
    how = "over random orders of its trials" if first.exchangeable else f"over {first.num_searches} observed searches"
    return f"A search of {reference} reaches {goal} {'; '.join(parts)} ({how})."


def _reached(finding: BreakEvenFinding) -> str:
    result = finding.result
    return f"{count(round(result.num_trials or 0), 'trial')} and {seconds(result.device_seconds)}"


def _reached_or_not(finding: BreakEvenFinding) -> str:
    if finding.result.device_seconds is None:
        return f"not within {seconds(finding.result.budget)}"
    text = f"after {_reached(finding)}, {times(finding.speed_up)} one training"
    low, high = finding.interval.low, finding.interval.high
    if low is not None:
        text += f" (95 % CI {times(low)} to {'beyond what was searched' if high is None else times(high)})"
    return text


# --- what would weaken it ------------------------------------------------------------------------------------------


def _caveats(findings: Findings) -> list[Caveat]:
    evidence = findings.evidence
    found: list[Caveat] = []
    _about_study(evidence, found)
    for arm in (evidence.candidate, evidence.reference):
        if arm is not None:
            _about_seeds(arm, found)
    if evidence.reference is not None:
        _about_search(evidence, evidence.reference, found)
    _about_statistics(findings, found)
    found += [Caveat(key="note", text=clean(note)) for note in evidence.state.notes]
    return found


def _about_study(evidence: Evidence, found: list[Caveat]) -> None:
    state = evidence.state
    if not state.finished:
        open_trials = sum(trial.state in ("waiting", "running") for trial in state.trials.values())
        text = f"The study is not finished ({count(open_trials, 'open trial')}); every number may still move."
        found.append(Caveat(key="unfinished", text=text))
    if evidence.simulated:
        text = "The images are simulated. What holds on a virtual cohort need not hold on patients."
        found.append(Caveat(key="simulated", text=text))
    if 0 < len(evidence.subjects) < FEW_SUBJECTS:
        text = f"Only {count(len(evidence.subjects), 'test subject')}; intervals of so few are wide and fragile."
        found.append(Caveat(key="few_subjects", text=text))
    devices = sorted({a.device for t in state.trials.values() for a in t.attempts if a.device})
    kinds = sorted({device.split(":")[0].strip() for device in devices})
    if len(kinds) > 1:
        text = f"Trials ran on different devices ({', '.join(map(clean, kinds))}); their seconds are not the same coin."
        found.append(Caveat(key="mixed_hardware", text=text))
    failed = [trial for trial in state.trials.values() if trial.state == "failed"]
    if failed:
        cost = seconds(sum(trial.device_seconds for trial in failed))
        text = f"{count(len(failed), 'trial')} failed; the {cost} they cost are counted in their arms."
        found.append(Caveat(key="failed", text=text))


def _about_seeds(arm: ArmEvidence, found: list[Caveat]) -> None:
    runs = len(arm.judged)
    name = clean(arm.label)
    if runs == 1:
        text = f"{name} was judged by one training: the claim is about one checkpoint, not about the method."
        found.append(Caveat(key="one_seed", text=text))
    if arm.judged and not arm.confirmed:
        text = f"The incumbent of {name} was not trained again under a fresh seed; its own trial stands in."
        found.append(Caveat(key="unconfirmed", text=text))


def _about_search(evidence: Evidence, reference: ArmEvidence, found: list[Caveat]) -> None:
    name, searches = clean(reference.label), reference.searches
    if len(searches) == 1:
        text = f"{name} was searched once: another search could have ended elsewhere, and that spread was not measured."
        found.append(Caveat(key="one_search", text=text))
    dimensions = max(1, len(evidence.terms) - 1)
    trials = max((len(search.trials) for search in searches), default=0)
    if 0 < trials < FEW_TRIALS_PER_DIMENSION * dimensions:
        text = f"{count(trials, 'trial')} a search is little for {count(dimensions, 'free weight')}; a longer one may do better."
        found.append(Caveat(key="few_trials", text=text))
    if any(trial.state == "pruned" for search in searches for trial in search.trials):
        text = f"{name} stopped bad trials early: their last values are not full trainings’ values."
        found.append(Caveat(key="pruned", text=text))


def _about_statistics(findings: Findings, found: list[Caveat]) -> None:
    margins = [comparison.margin for comparison in findings.decisive.values()]
    if any(margin.value == 0 for margin in margins):
        reasons = sorted({margin.source for margin in margins if margin.value == 0})
        text = f"A margin is {reasons[0]}: there, non-inferior means better." if reasons[0].startswith("0, ") else ""
        found.append(Caveat(key="zero_margin", text=text or "A margin is 0: there, non-inferior means better."))
    elif any(margin.source != "configuration" for margin in margins):
        text = (
            "The margin was not fixed in the configuration but derived from validation results (half of what tuning "
            "gained over equal weights), before test results entered."
        )
        found.append(Caveat(key="default_margin", text=text))
    weak = [
        QUANTITIES[comparison.metric].label
        for comparison in findings.decisive.values()
        if comparison.paired.sd and comparison.margin.value < margin_for_power(comparison.paired.sd, comparison.paired.num_subjects)
    ]
    if weak:
        text = f"In {enumerated(weak)} the margin is finer than {findings.num_paired} subjects can resolve with 80 % power."
        found.append(Caveat(key="low_power", text=text))
    if any(f.result.censored for f in findings.break_evens):
        text = "Break-even was not reached in the budget that was spent; a larger one could have reached it."
        found.append(Caveat(key="censored", text=text))
    if findings.break_evens and findings.break_evens[0].basis == "validation":
        text = "Trials of the search have no test scores, so break-even compares validation quality."
        found.append(Caveat(key="validation_basis", text=text))
    if any(comparison.mixed is None for comparison in findings.decisive.values()):
        text = "With fewer than two seeds a side, the spread between trainings is not in any interval."
        found.append(Caveat(key="no_run_effect", text=text))
