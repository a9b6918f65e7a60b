"""Scalarizers of TorchJD (`torchjd.scalarization`), held to the contract of the other weightings.

A scalarizer S maps K losses to a scalar; its effective weights are the slopes dS/dL_i, scaled to sum to 1. Trained
with the scalar sum of weights times losses, the network gets the direction it would get from S, at a length that
doesn't depend on the method. What S learns (uncertainties) keeps its own gradient, unscaled.
"""

from typing import Any

import torch
from torch import Tensor, nn

from trainables.errors import UserError
from trainables.weighting.base import LossWeighting

LEAST, MOST = 1e-12, 1e12
"""Losses beyond count as these, so that logarithms and ratios stay finite."""


def make_scalarizer(name: str, *options: Any) -> Any:
    """A scalarizer of TorchJD, whose other half takes most of a second to import: only who uses one waits."""
    from torchjd import scalarization

    return getattr(scalarization, name)(*options)


class ScalarizerWeighting(LossWeighting):
    """Weights by the slopes of a scalarizer.

    A step with a loss that is not finite repeats the losses of the last one that had none.

    Args:
        num_terms: K.
        scalarizer: of TorchJD, one that learns nothing.
        **options: of `LossWeighting`.

    Raises:
        UserError: the scalarizer learns: what it knows would not train, or not be in the state.
    """

    last: Tensor
    """(K,) the last finite losses."""

    def __init__(self, num_terms: int, scalarizer: nn.Module, **options: Any) -> None:
        from torchjd import Stateful

        super().__init__(num_terms, **options)
        if type(self) is ScalarizerWeighting and isinstance(scalarizer, Stateful):
            raise UserError(
                f"TorchJD's {type(scalarizer).__name__} learns: take DWAWeighting, UncertaintyWeighting or "
                "IMTLLWeighting, or write a subclass that trains and keeps it"
            )
        self.scalarizer = scalarizer
        self.register_buffer("last", torch.ones(num_terms))

    def next_weights(self, losses: Tensor) -> Tensor:
        self.last.copy_(torch.where(losses.isfinite().all(), losses, self.last))
        slopes = self._slopes(self.last.clone())
        weights = slopes / slopes.sum()
        return torch.where(weights.isfinite().all(), weights, self.weights)

    def _slopes(self, losses: Tensor) -> Tensor:
        with torch.enable_grad():
            point = losses.requires_grad_()
            return torch.autograd.grad(self.scalarizer(point), point)[0]


class LearnedWeighting(ScalarizerWeighting):
    """A scalarizer with parameters: hand `parameters()` to the optimiser beside the network's."""

    def combine(self, weights: Tensor, losses: Tensor, observed: Tensor) -> Tensor:
        learned = self.scalarizer(observed)
        # Adds nothing to the value, and to the gradient only that of the parameters.
        return super().combine(weights, losses, observed) + (learned - learned.detach())
