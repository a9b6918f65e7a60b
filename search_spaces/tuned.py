"""Hand-tuned weights: a space of log-ratios."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from search_spaces.arm import Arm, Range, SearchPlan, Spec, Weights

BOUND = math.log(100)
"""A term weighs between 1/100 and 100 times the reference term, after each is scaled by its initial value."""


def space(terms: Sequence[str]) -> dict[str, Range]:
    """K - 1 log-ratios to the first term: a scale common to all weights would be a redundant dimension."""
    return {f"log_ratio/{term}": Range(low=-BOUND, high=BOUND) for term in terms[1:]}


def weights_of(params: Mapping[str, float], terms: Sequence[str], scale: Weights) -> list[float]:
    """Weights (K,) of a point: softmax of its log-ratios over the terms scaled to 1 at the start, summing to 1."""
    logits = [0.0, *(params[f"log_ratio/{term}"] for term in terms[1:])]
    logits = [logit - math.log(scale[term]) for logit, term in zip(logits, terms, strict=True)]
    top = max(logits)
    powers = [math.exp(logit - top) for logit in logits]
    return [power / sum(powers) for power in powers]


def equal_point(terms: Sequence[str], scale: Weights) -> dict[str, float]:
    """The point whose weights are all 1/K, or the nearest one inside the bounds."""
    first = math.log(scale[terms[0]])
    return {f"log_ratio/{term}": min(BOUND, max(-BOUND, math.log(scale[term]) - first)) for term in terms[1:]}


def tuned(name: str, search: SearchPlan) -> Arm:
    """Weights searched over many trials, the incumbent then confirmed under fresh seeds."""
    terms = search.terms
    log_ratios = space(terms)

    def first_point(scale: Weights | None) -> dict[str, float]:
        return {} if scale is None else equal_point(terms, scale)

    def make_weighting(params: Mapping[str, Any], scale: Weights) -> Spec:
        # The first trial has no log-ratios yet: it weighs equally, and its first batch sets the scale.
        if not log_ratios.keys() <= params.keys():
            return {"name": "equal"}
        return {"name": "fixed", "weights": weights_of(params, terms, scale)}

    search = replace(search, space=log_ratios, first_point=first_point)
    return Arm(name=name, role="tuned", strategy="tuned", terms=terms, make_weighting=make_weighting, search=search)
