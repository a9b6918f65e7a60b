"""The learning rate as a dimension of every arm's search, the same one in each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from search_spaces.arm import Arm, Range, SearchPlan, Weights

NAME = "learning_rate"


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """Rates between `low` and `high`, drawn by their logarithm; a search begins with `first`."""

    low: float
    high: float
    first: float


def tuned_as_well(arm: Arm, rates: LearningRates, *, search: SearchPlan) -> Arm:
    """The arm with its learning rate tuned.

    An arm that is searched gets one dimension more within its own budget; any other becomes a search over the
    learning rate alone, its incumbent confirmed under the seeds that the arm was to be trained with.

    Args:
        arm: any arm.
        rates: the same for all arms of a study.
        search: budget and sampler of an arm that had no search; its space and seeds are filled in.
    """
    plan = arm.search or replace(search, terms=arm.terms, confirm_seeds=arm.seeds)

    def first_point(scale: Weights | None) -> dict[str, float]:
        return {**plan.first_point(scale), NAME: rates.first}

    space: Mapping[str, Any] = {**plan.space, NAME: Range(low=rates.low, high=rates.high, log=True)}
    return replace(arm, seeds=(), search=replace(plan, space=space, first_point=first_point))
