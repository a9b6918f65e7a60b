"""Arms whose weights are given beforehand: one loss alone, equal weights, weights by hand."""

from collections.abc import Mapping, Sequence

from search_spaces.arm import Arm
from trainables.errors import UserError


def single(term: str, *, seeds: Sequence[int]) -> Arm:
    """Training on one loss alone, as if the others did not exist."""
    return Arm(
        name=f"single-{term}",
        role="fixed",
        strategy="single",
        terms=(term,),
        make_weighting=lambda params, inputs: {"name": "equal"},
        seeds=tuple(seeds),
    )


def equal(terms: Sequence[str], *, seeds: Sequence[int], name: str = "equal") -> Arm:
    """Every loss weighs 1/K at its natural scale."""
    return Arm(
        name=name,
        role="fixed",
        strategy="equal",
        terms=tuple(terms),
        make_weighting=lambda params, inputs: {"name": "equal"},
        seeds=tuple(seeds),
    )


def given(name: str, weights: Mapping[str, float], terms: Sequence[str], *, seeds: Sequence[int]) -> Arm:
    """Weights written down by a person; they are scaled to sum to 1, and a term left out weighs 0.

    Raises:
        UserError: a weight's term is unknown, a weight is negative, or all are 0.
    """
    unknown = sorted(set(weights) - set(terms))
    if unknown:
        raise UserError(f"arms.{name}.weights: no term {unknown[0]!r} in `terms` ({', '.join(terms)}).")
    values = [float(weights.get(term, 0.0)) for term in terms]
    total = sum(values)
    if min(values) < 0 or not total > 0:
        raise UserError(f"arms.{name}.weights: weights must be 0 or more, and not all 0.")
    spec = {"name": "fixed", "weights": [value / total for value in values]}
    return Arm(
        name=name,
        role="fixed",
        strategy="given",
        terms=tuple(terms),
        make_weighting=lambda params, inputs: spec,
        seeds=tuple(seeds),
    )
