"""The answer in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from study.report.evidence import ArmEvidence, Evidence
from study.report.findings.break_even import BreakEvenFinding
from study.report.findings.caveats import Caveat, caveats_of, devices_of
from study.report.findings.findings import Findings
from study.report.findings.quality import Comparison
from study.report.formats import OUTCOMES, QUANTITIES, clean, count, enumerated, percent, seconds, seeds_text, times

SPOKEN = {"cov": "CoV", "tuned": "hand-tuned weights"}
"""How arms of the question's two strategies are called in sentences; all others go by their names."""


PLAIN = {"superior": ("better", "than"), "non-inferior": ("non-inferior", "to"), "inferior": ("inferior", "to")}
WORSE = {
    "non-inferior, worse": "though by less than the margin",
    "worse, margin open": "and it is open whether by more than the margin",
}
"""Outcomes that a headline says in one word, and those that take more."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the page opens with."""

    headline: str
    cost: str
    break_even: str
    metrics: Sequence[str]
    """One phrase a metric, with its numbers."""
    differences: Sequence[str]
    """The same in short: difference and margin."""
    caveats: Sequence[Caveat]

    @property
    def lines(self) -> tuple[str, str]:
        """Quality and cost, for a terminal: the intervals and the break-even are on the page."""
        numbers = f" [{'; '.join(self.differences)}]" if self.differences else ""
        return self.headline + numbers, self.cost


def put_into_words(findings: Findings) -> Words:
    """Says what was found; where something is missing, says what."""
    return Words(
        headline=_headline(findings),
        cost=_cost(findings),
        break_even=_break_even(findings),
        metrics=[_metric(comparison) for comparison in findings.decisive.values()],
        differences=[_difference(comparison) for comparison in findings.decisive.values()],
        caveats=caveats_of(findings),
    )


def spoken(arm: ArmEvidence) -> str:
    """An arm as a sentence calls it."""
    strategy, name = SPOKEN.get(arm.strategy), clean(arm.label)
    if strategy is None:
        return name
    return strategy if arm.name == arm.strategy else f"{strategy} ({name})"


def _headline(findings: Findings) -> str:
    evidence = findings.evidence
    candidate, reference = evidence.candidate, evidence.reference
    if candidate is None:
        return "This study has no automatic arm: there is nothing to compare with hand-tuned weights."
    if reference is None:
        return f"This study has no hand-tuned arm: there is nothing to compare {spoken(candidate)} with."
    if not findings.decisive:
        lacking = [spoken(arm) for arm in (candidate, reference) if not arm.judged]
        why = f"there are no test scores of {enumerated(lacking)}" if lacking else "no test subject has scores of both"
        return f"No verdict on {spoken(candidate)} against {spoken(reference)}{_so_far(evidence)}: {why}."
    return sentence(spoken(candidate), spoken(reference), _by_outcome(findings.decisive)) + f"{_so_far(evidence)}."


def _by_outcome(comparisons: Mapping[str, Comparison]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for comparison in comparisons.values():
        found.setdefault(comparison.outcome, []).append(QUANTITIES[comparison.metric].label)
    return found


def sentence(candidate: str, reference: str, by_outcome: Mapping[str, Sequence[str]]) -> str:
    """`CoV is better than hand-tuned weights in PSNR and non-inferior in SSIM; RMSE is undecided`.

    Args:
        candidate, reference: as sentences call them.
        by_outcome: outcome -> labels of its metrics.
    """
    plain: list[str] = []
    for outcome, (adjective, link) in PLAIN.items():
        if outcome in by_outcome:
            whom = "" if plain else f" {link} {reference}"
            plain.append(f"{adjective}{whom} in {enumerated(by_outcome[outcome])}")
    parts = [f"{candidate} is {enumerated(plain)}"] if plain else []
    for outcome, addition in WORSE.items():
        if outcome in by_outcome:
            whom = "it is worse" if parts else f"{candidate} is worse than {reference}"
            parts.append(f"{whom} in {enumerated(by_outcome[outcome])}, {addition}")
    claims = bool(parts)
    for outcome in ("undecided", "not testable"):
        if outcome in by_outcome:
            names = by_outcome[outcome]
            parts.append(f"{enumerated(names)} {'is' if len(names) == 1 else 'are'} {outcome}")
    text = "; ".join(parts)
    return text if claims else f"{candidate} against {reference}: {text}"


def _so_far(evidence: Evidence) -> str:
    return "" if evidence.state.finished else " (so far; the study is not finished)"


def _metric(comparison: Comparison) -> str:
    quantity, found = QUANTITIES[comparison.metric], comparison.paired
    text = f"{quantity.label} {quantity.against(found.difference)}"
    if found.t.low is not None and found.t.high is not None:
        text += f", 95 % CI {quantity.between(found.t.low, found.t.high)}"
    return f"{text}, margin {quantity.format(comparison.margin.value)}: {OUTCOMES[comparison.outcome]}"


def _difference(comparison: Comparison) -> str:
    quantity = QUANTITIES[comparison.metric]
    difference = quantity.against(comparison.paired.difference)
    return f"{quantity.label} {difference}, margin {quantity.format(comparison.margin.value)}"


def _cost(findings: Findings) -> str:
    ratio, evidence = findings.cost_ratio, findings.evidence
    if ratio is None or evidence.candidate is None or evidence.reference is None:
        return "The ratio of costs is not known: it takes a finished automatic training and a search."
    interval = ""
    if ratio.interval.low is not None and ratio.interval.high is not None:
        low, high = (times(end).removesuffix(" ×") for end in (ratio.interval.low, ratio.interval.high))
        interval = f" (95 % CI {low} to {high})"
    trials = count(round(ratio.num_trials), "trial")
    # Where the learning rate is tuned, the automatic arm is searched as well.
    one = "One search for the learning rate" if evidence.candidate.searches else "One training"
    devices = devices_of([*evidence.candidate.trials, *evidence.reference.trials])
    mixed = f" Not on one kind of device ({enumerated(devices)}): this ratio compares hardware, too."
    return (
        f"{one} of {spoken(evidence.candidate)} cost {seconds(ratio.training)} of device time, one search for "
        f"{spoken(evidence.reference)} ({trials}) {seconds(ratio.search)}: {times(ratio.value)} as much{interval}."
    ) + (mixed if len(devices) > 1 else "")


def _break_even(findings: Findings) -> str:
    found, evidence = findings.break_evens, findings.evidence
    if not found or evidence.candidate is None or evidence.reference is None:
        return _no_break_even(evidence)
    first, candidate = found[0], spoken(evidence.candidate)
    goal = f"the {evidence.selecting.label} of {candidate} less the margin"
    if first.basis == "validation":
        goal += " (on validation)"
    alike = f"both trained under {seeds_text(first.seeds)}"
    if first.num_searches > 1 and first.compared == "equal seeds":
        alike = f"each beside the training of {candidate} under its own seed ({seeds_text(first.seeds)})"
    if first.first_trial and found[-1].first_trial:
        return (
            f"Equal weights already reach {goal}, {alike}: break-even comes with the first trial of a search, after "
            f"{seconds(first.result.device_seconds)}."
        )
    confirmed = first.compared == "confirmed incumbent"
    if not first.exchangeable and first.num_searches == 1:
        who = "The final incumbent of the search" if confirmed else "The search"
        if first.result.censored:
            return f"{who} does not reach {goal}, {alike}: break-even lies beyond {seconds(first.result.budget)}."
        if first.at_most:
            return f"{who} reaches {goal}, {alike}: break-even comes after {_reached(first)}.{_why_at_most(evidence)}"
        return f"{who} reached {goal} after {_reached(first)}, {alike}."
    searches = count(first.num_searches, "search", "searches")
    how = f"over random orders of the trials of {searches}" if first.exchangeable else f"over {searches}, as observed"
    parts = [f"with probability {percent(f.result.rho)} {_reached_or_not(f)}" for f in found]
    why = _why_at_most(evidence) if confirmed and any(f.at_most for f in found) else ""
    return f"A search reaches {goal}, {alike}, {'; '.join(parts)} ({how}).{why}"


def _no_break_even(evidence: Evidence) -> str:
    candidate, reference = evidence.candidate, evidence.reference
    valued = reference is not None and any(np.isfinite(search.validation).any() for search in reference.searches)
    if candidate is None or reference is None or not valued or not candidate.judged:
        return "Break-even is not known: it takes a finished automatic training and a validated trial of a search."
    trained = seeds_text(run.seed for run in candidate.judged)
    return (
        f"Break-even is not known: the search trained under {_searched(reference)}, {spoken(candidate)} under "
        f"{trained}, where no incumbent was confirmed, and a seed moves quality by itself."
    )


def _why_at_most(evidence: Evidence) -> str:
    """Why there is no finer statement than `at most`."""
    assert evidence.reference is not None
    return (
        f" When earlier trials reached it is not known: they were trained under {_searched(evidence.reference)} alone, "
        f"and a seed moves quality by itself."
    )


def _searched(reference: ArmEvidence) -> str:
    return seeds_text({search.seed for search in reference.searches})


def budget_text(finding: BreakEvenFinding) -> str:
    """`75 s`, `≤ 75 s` where it is a bound, `> 75 s` where it was not reached."""
    result = finding.result
    if result.device_seconds is None:
        return f"> {seconds(result.budget)}"
    return f"≤ {seconds(result.device_seconds)}" if finding.at_most else seconds(result.device_seconds)


def _reached(finding: BreakEvenFinding) -> str:
    result = finding.result
    after = f"{count(round(result.num_trials or 0), 'trial')} and {seconds(result.device_seconds)}"
    return f"at most {after}" if finding.at_most else after


def _reached_or_not(finding: BreakEvenFinding) -> str:
    if finding.result.device_seconds is None:
        return f"not within {seconds(finding.result.budget)}"
    text = f"after {_reached(finding)}, {times(finding.speed_up)} one training"
    if finding.first_trial:
        text += " (equal weights, its first trial)"
    low, high = finding.interval.low, finding.interval.high
    if low is not None:
        text += f" (95 % CI {times(low)} to {'beyond what was searched' if high is None else times(high)})"
    return text
