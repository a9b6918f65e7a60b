"""SoftAdapt: a loss that falls more slowly than the others weighs more.

Source: Heydari, Thompson and Mehmood, "SoftAdapt: techniques for adaptive loss weighting of neural networks with
multi-part loss functions", arXiv:1912.12355 (2019).
"""

from typing import Any

import torch
from torch import Tensor

from trainables.weighting.base import LossWeighting

EPSILON = 1e-12


class SoftAdaptWeighting(LossWeighting):
    """Softmax of the losses' rates of change s = L(t) - L(t - 1); equal weights at t = 0.

    - original: `softmax(beta s)`;
    - `normalised`: s / sum |s| in its place, so that the losses' scale doesn't matter;
    - `loss_weighted`: L exp(beta s) / sum(L exp(beta s)): a term that is already small weighs less.

    The rate is the first-order difference of two steps. A step with a loss that is not finite repeats the last
    weights.

    Args:
        num_terms: K.
        beta: above 0 favours the term that does worst; 0.1 in the paper.
        normalised, loss_weighted: the paper's variants, which can be combined.
        **options: of `LossWeighting`.
    """

    name = "softadapt"

    previous: Tensor
    """(K,) L(t - 1); NaN before the first step."""

    def __init__(
        self,
        num_terms: int,
        *,
        beta: float = 0.1,
        normalised: bool = False,
        loss_weighted: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(num_terms, **options)
        self.beta, self.normalised, self.loss_weighted = beta, normalised, loss_weighted
        self.refuses_negative = loss_weighted
        self.register_buffer("previous", torch.full((num_terms,), torch.nan))

    def next_weights(self, losses: Tensor) -> Tensor:
        rates = losses - self.previous
        if self.normalised:
            rates = rates / (rates.abs().sum() + EPSILON)
        weights = torch.softmax(self.beta * rates, 0)
        if self.loss_weighted:
            shares = losses / losses.max() + EPSILON
            weights = weights * shares / (weights * shares).sum()
        finite = losses.isfinite().all()
        weights = torch.where(finite & weights.isfinite().all(), weights, self.weights)
        self.previous.copy_(torch.where(finite, losses, self.previous))
        return weights
