"""The verdict: one sentence, the numbers one looks for first, and what weakens them."""

from study.report.findings.findings import Findings
from study.report.findings.words import budget_text, spoken
from study.report.formats import times
from study.report.sections.section import Section


def _facts(findings: Findings) -> list[dict[str, str]]:
    """The numbers one looks for first."""
    evidence, facts = findings.evidence, []
    objective = findings.decisive.get(evidence.objective)
    if objective is not None:
        quantity, found = evidence.selecting, objective.paired
        note = f"in {quantity.label}"
        if found.t.low is not None and found.t.high is not None:
            note += f", 95 % CI {quantity.between(found.t.low, found.t.high)}"
        facts.append({"value": quantity.against(found.difference), "note": note})
    ratio = findings.cost_ratio
    if ratio is not None:
        facts.append({"value": times(ratio.value), "note": "what one search paid over what one automatic training did"})
    if findings.break_evens:
        note = "break-even of the search, in device time"
        first = findings.break_evens[0]
        if first.result.censored:
            note = "break-even: not reached by the search"
        elif first.first_trial:
            note = "break-even: equal weights, the first trial, already reach it"
        facts.append({"value": budget_text(first), "note": note})
    return facts


SECTION = Section(
    name="verdict",
    title="The verdict",
    link="Verdict",
    template="verdict.html",
    values=lambda findings, words: {"facts": _facts(findings), "spoken": spoken},
)
