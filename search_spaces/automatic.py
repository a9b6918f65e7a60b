"""Arms that weigh the losses themselves in a single training, and the weights they end with, frozen."""

from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.arm import Arm


def automatic(
    name: str,
    terms: Sequence[str],
    *,
    seeds: Sequence[int],
    weighting: str,
    options: Mapping[str, Any] | None = None,
) -> Arm:
    """An automatic weighting by the name `trainables.weighting` knows it under, with its options."""
    spec = {"name": weighting, **(options or {})}
    return Arm(
        name=name,
        role="automatic",
        strategy=weighting,
        terms=tuple(terms),
        make_weighting=lambda params, inputs: dict(spec),
        seeds=tuple(seeds),
    )


def frozen(name: str, terms: Sequence[str], *, seeds: Sequence[int], source: str) -> Arm:
    """The weights of a finished trial of `source`, averaged over its training, then trained as fixed.

    Tells whether the *schedule* of an automatic weighting matters, or only the place where it goes.
    """
    ordered = tuple(terms)
    return Arm(
        name=name,
        role="automatic",
        strategy="frozen",
        terms=ordered,
        make_weighting=lambda params, inputs: {
            "name": "fixed",
            "weights": [inputs[term] for term in ordered],
        },
        seeds=tuple(seeds),
        waits_for=source,
    )
