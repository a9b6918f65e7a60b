"""ReLoBRaLo: relative loss balancing with random lookback.

Source: Bischof and Kraus, "Multi-objective loss balancing for physics-informed deep learning", Computer Methods
in Applied Mechanics and Engineering 2025 (arXiv:2110.09813), section 3.
"""

from typing import Any

import torch
from torch import Tensor

from trainables.errors import UserError
from trainables.weighting.base import LossWeighting
from trainables.weighting.draws import Draws

EPSILON = 1e-12
LARGEST_RATIO = 1e12


class ReLoBRaLoWeighting(LossWeighting):
    """Weights that follow each loss's progress since the last step, and now and then since the first.

    With B(t') = softmax(L(t) / (T L(t'))) and rho = 1 with probability `lookback`, else 0:

        w(t) = alpha (rho w(t - 1) + (1 - rho) B(0)) + (1 - alpha) B(t - 1)

    and equal weights at t = 0. The paper's weights sum to K, these to 1. A step with a loss that is not finite
    repeats the last weights.

    Args:
        num_terms: K.
        alpha: how much of the past is kept, 0 to 1.
        temperature: T, above 0; large is equal weights.
        lookback: expected value of rho, 0 to 1; near 1 in the paper.
        seed: of the draws of rho.
        **options: of `LossWeighting`.

    Raises:
        UserError: an option is out of its range.
    """

    name = "relobralo"
    refuses_negative = True

    first: Tensor
    """(K,) L(0); NaN before the first step."""
    previous: Tensor
    """(K,) L(t - 1); NaN before the first step."""

    def __init__(
        self,
        num_terms: int,
        *,
        alpha: float = 0.999,
        temperature: float = 0.1,
        lookback: float = 0.999,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(num_terms, **options)
        if not (0 <= alpha <= 1 and 0 <= lookback <= 1 and temperature > 0):
            raise UserError("ReLoBRaLo needs alpha and lookback between 0 and 1 and a temperature above 0")
        self.alpha, self.temperature, self.lookback = alpha, temperature, lookback
        self.draws = Draws(seed)
        for name in ("first", "previous"):
            self.register_buffer(name, torch.full((num_terms,), torch.nan))

    def next_weights(self, losses: Tensor) -> Tensor:
        finite = losses.isfinite().all()
        started = self.first.isfinite().all()
        history = self.weights if self.draws.next().random() < self.lookback else self._balance(losses, self.first)
        weights = self.alpha * history + (1 - self.alpha) * self._balance(losses, self.previous)
        weights = torch.where(finite & started, weights / weights.sum(), self.weights)
        self.first.copy_(torch.where(finite & ~started, losses, self.first))
        self.previous.copy_(torch.where(finite, losses, self.previous))
        return weights

    def _balance(self, losses: Tensor, before: Tensor) -> Tensor:
        ratio = ((losses + EPSILON) / (before + EPSILON)).clamp(max=LARGEST_RATIO)
        return torch.softmax(ratio / self.temperature, 0)
