"""Weights that make all terms equal at the start."""

import torch
from torch import Tensor

from trainables.weighting.base import LossWeighting

SMALLEST_SHARE = 1e-6
"""Of the largest first loss: a smaller one counts as that much."""


class InverseInitialWeighting(LossWeighting):
    """Weights proportional to 1 / L(0), with L(0) the losses of the first step, and the same ever after.

    Removes the terms' natural scales and nothing else: the simplest answer to "one term is 100 times the other".
    While a loss is not finite, the first step is still to come and the weights are equal.
    """

    name = "inverse-initial"
    refuses_negative = True

    initial: Tensor
    """(K,) the first losses; NaN until then."""

    def __init__(self, num_terms: int, **options: object) -> None:
        super().__init__(num_terms, **options)  # type: ignore[arg-type]
        self.register_buffer("initial", torch.full((num_terms,), torch.nan))

    def next_weights(self, losses: Tensor) -> Tensor:
        known = self.initial.isfinite().all()
        self.initial.copy_(torch.where(known | ~losses.isfinite().all(), self.initial, losses))
        scale = self.initial.clamp(min=SMALLEST_SHARE * self.initial.max() + torch.finfo(losses.dtype).tiny)
        inverse = scale.min() / scale
        return torch.where(self.initial.isfinite().all(), inverse / inverse.sum(), self.weights)
