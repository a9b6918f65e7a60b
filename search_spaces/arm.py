"""An arm: one strategy of weighting the loss terms, as the plan and the engine see it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from search_spaces.budget import Budget
from search_spaces.halving import Halving

Weights = Mapping[str, float]
"""Term -> weight; the weights sum to 1."""

Spec = dict[str, Any]
"""A weighting as plain values: what `trainables.weighting.make_weighting` takes and the journal keeps."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """One dimension of a space: values between `low` and `high`, drawn by their logarithm if `log`."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, on the scale that values are drawn on: -1 at `low`, 0 in the middle, 1 at `high`."""
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return (2 * at - low - high) / (high - low)


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """How an arm is searched."""

    terms: tuple[str, ...]
    budget: Budget
    space: Mapping[str, Range] = field(default_factory=dict)
    first_point: Callable[[Weights | None], dict[str, float]] = lambda scale: {}
    """The parameters that a search begins with, by the terms' initial scale; None: what is known without it."""
    replicates: int = 1
    parallel: int = 4
    """Trials of one replicate in flight. It fixes what each suggestion may know (trial n knows trials 0 to
    n - parallel), so that a search gives the same trials whatever the number of workers."""
    sampler: str = "tpe"
    sampler_options: Mapping[str, Any] | None = None
    objectives: tuple[str, ...] = ("psnr",)
    halving: Halving | None = None
    """Stops trials that fall behind; None trains every one to its end."""
    confirm_seeds: tuple[int, ...] = ()
    """Fresh seeds under which the incumbent is trained again."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One strategy. The engine knows nothing else of it: no code asks an arm's name.

    An arm with a `search` runs trials of it and then confirms the incumbent; one without runs a trial a seed.
    """

    name: str
    role: Literal["fixed", "tuned", "automatic"]
    strategy: str
    """What the configuration calls it: `single`, `equal`, `given`, `tuned`, `frozen` or an automatic weighting."""
    terms: tuple[str, ...]
    """Terms its trials compute; a single-loss training does not pay for the others."""
    make_weighting: Callable[[Mapping[str, Any], Weights], Spec]
    """(parameters of the trial, mean weights of the awaited trial or the terms' initial scale) -> weighting."""
    seeds: tuple[int, ...] = ()
    search: SearchPlan | None = None
    waits_for: str | None = None
    """Arm whose trial of the same seed must be complete first."""


def strategy_by_name(name: str) -> str:
    """The strategy of an arm that says none: `tuned-random` is a `tuned`, `cov-frozen` is `frozen`; other names are
    their own strategy."""
    if name.endswith("-frozen"):
        return "frozen"
    return "tuned" if name.startswith("tuned-") else name
