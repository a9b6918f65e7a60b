"""From evidence to findings: everything the page says, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from study.report.evidence import Evidence
from study.report.findings.break_even import BreakEvenFinding
from study.report.findings.break_even import break_evens as find_break_evens
from study.report.findings.costs import CostRatio, Front, SearchFinding, front_of_arms, search_findings
from study.report.findings.costs import cost_ratio as find_cost_ratio
from study.report.findings.quality import Comparison, Pair, compare, compare_with_all
from study.report.formats import QUANTITIES, REGIONS


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything the page says, as numbers."""

    evidence: Evidence
    comparisons: dict[str, dict[str, Comparison]]
    """region -> metric."""
    pairs: Sequence[Pair]
    cost_ratio: CostRatio | None
    break_evens: Sequence[BreakEvenFinding]
    searches: Sequence[SearchFinding]
    front: Front

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
            found = {m: compare(evidence, candidate, reference, m, region) for m in QUANTITIES}
            comparisons[region] = {metric: c for metric, c in found.items() if c is not None}
    ratio = find_cost_ratio(candidate, reference) if candidate and reference else None
    return Findings(
        evidence=evidence,
        comparisons=comparisons,
        pairs=compare_with_all(evidence, candidate) if candidate else [],
        cost_ratio=ratio,
        break_evens=find_break_evens(evidence, candidate, reference) if candidate and reference else [],
        searches=search_findings(evidence),
        front=front_of_arms(evidence),
    )
