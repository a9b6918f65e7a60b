"""Asynchronous successive halving: a trial that has fallen behind at a rung is not trained to its end."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Halving:
    """ASHA (Li et al., MLSys 2020) in the variant that stops trials instead of pausing them.

    Args:
        rungs: epochs after which a trial is judged, each before the last epoch.
        reduction: of the values at a rung, the best 1 in `reduction` go on, and always the best one.
    """

    rungs: tuple[int, ...]
    reduction: int

    def promotes(self, value: float, rivals: Sequence[float], *, goal: str) -> bool:
        """Whether a trial that measured `value` at a rung goes on; `goal` is `max` or `min`, equals go on together."""
        places = max(1, (len(rivals) + 1) // self.reduction)
        better = sum(rival > value if goal == "max" else rival < value for rival in rivals)
        return better < places


def rungs(min_epochs: int, reduction: int, epochs: int) -> tuple[int, ...]:
    """`min_epochs` times the powers of `reduction`, as long as training goes on afterwards."""
    found = []
    while min_epochs < epochs:
        found.append(min_epochs)
        min_epochs *= reduction
    return tuple(found)
