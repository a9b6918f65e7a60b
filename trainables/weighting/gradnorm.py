"""GradNorm: gradients of comparable size, adjusted by each term's training rate.

Source: Chen, Badrinarayanan, Lee and Rabinovich, "GradNorm: gradient normalization for adaptive loss balancing in
deep multitask networks", ICML 2018.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainables.errors import UserError
from trainables.weighting.base import LossWeighting

SMALLEST_WEIGHT = 1e-3
"""Of the weights that sum to K, so that none turns negative or sticks at 0."""
MOMENTUM, SECOND_MOMENTUM, EPSILON = 0.9, 0.999, 1e-8


class GradNormWeighting(LossWeighting):
    """Moves the weights so that term i's gradient norm G_i follows the mean norm times r_i^alpha.

    With W the parameters of the last layer all terms share, G_i = ||grad_W w_i L_i||, and r_i = (L_i / L_i(0)) /
    mean(L / L(0)): each step changes the weights along the gradient of sum_i |G_i - mean(G) r_i^alpha|, the target
    held constant, and rescales them to sum to K. The step is Adam's, as in the published implementations, on that
    gradient divided by mean(G), so that the losses' scale doesn't matter; a weight stays above 1e-3.

    It needs one more backward pass per term from the loss to W: call `attach` before training. A step with a loss
    or gradient that is not finite changes nothing.

    Args:
        num_terms: K.
        alpha: strength of the pull towards equal training rates; 1.5 in the paper's main experiments.
        learning_rate: of the weights; 0.025 in the paper.
        **options: of `LossWeighting`.

    Raises:
        UserError: the learning rate is not above 0.
    """

    name = "gradnorm"
    refuses_negative = True
    takes_gradients = True

    raw: Tensor
    """(K,) the weights, summing to K."""
    initial: Tensor
    """(K,) L(0); NaN before the first step."""
    moments: Tensor
    """(2, K) Adam's moments."""
    num_updates: Tensor
    """() updates of the weights so far."""

    def __init__(self, num_terms: int, *, alpha: float = 1.5, learning_rate: float = 0.025, **options: Any) -> None:
        super().__init__(num_terms, **options)
        if not learning_rate > 0:
            raise UserError(f"GradNorm's learning_rate must be above 0, not {learning_rate}")
        self.alpha, self.learning_rate = alpha, learning_rate
        self._shared: tuple[nn.Parameter, ...] = ()
        self.register_buffer("raw", torch.ones(num_terms))
        self.register_buffer("initial", torch.full((num_terms,), torch.nan))
        self.register_buffer("moments", torch.zeros(2, num_terms))
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.int64))

    def attach(self, shared: nn.Module | Iterable[nn.Parameter]) -> None:
        """Takes the parameters W, or a network, of which the last weight of two or more dimensions is W."""
        if isinstance(shared, nn.Module):
            self._shared = tuple(parameter for parameter in shared.parameters() if parameter.dim() > 1)[-1:]
        else:
            self._shared = tuple(shared)

    def next_weights(self, losses: Tensor) -> Tensor:
        return self.raw / self.num_terms

    def combine(self, weights: Tensor, losses: Tensor, observed: Tensor) -> Tensor:
        if not self._shared:
            raise UserError("GradNorm needs the parameters all terms share: call attach(network) before training")
        if losses.requires_grad:
            self._update(observed, self._norms(losses))
        return super().combine(weights, losses, observed)

    def _norms(self, losses: Tensor) -> Tensor:
        """||grad_W L_i|| of each term (K,)."""
        norms = []
        for loss in losses:
            gradients = torch.autograd.grad(loss, self._shared, retain_graph=True, allow_unused=True)
            parts = [gradient.norm() for gradient in gradients if gradient is not None]
            norms.append(torch.stack(parts).norm() if parts else loss.new_zeros(()))
        stacked = torch.stack(norms).to(self.raw.dtype)
        return self._averaged(stacked) if self.all_reduce else stacked

    @torch.no_grad()
    def _update(self, losses: Tensor, norms: Tensor) -> None:
        finite = losses.isfinite().all() & norms.isfinite().all()
        started = self.initial.isfinite().all()
        self.initial.copy_(torch.where(finite & ~started, losses, self.initial))
        tiny = torch.finfo(losses.dtype).tiny
        progress = (losses + tiny) / (self.initial + tiny)
        rate = progress / progress.mean()
        weighted = self.raw * norms
        mean = weighted.mean()
        gradient = torch.sign(weighted - mean * rate**self.alpha) * norms / (mean + tiny)
        usable = finite & gradient.isfinite().all() & (mean > 0)
        moments = torch.stack((
            self.moments[0].lerp(gradient, 1 - MOMENTUM),
            self.moments[1].lerp(gradient.square(), 1 - SECOND_MOMENTUM),
        ))  # fmt: skip
        count = self.num_updates + 1
        step = moments[0] / (1 - MOMENTUM**count)
        step = step / ((moments[1] / (1 - SECOND_MOMENTUM**count)).sqrt() + EPSILON)
        raw = (self.raw - self.learning_rate * step).clamp(min=SMALLEST_WEIGHT)
        raw = raw * (self.num_terms / raw.sum())
        self.raw.copy_(torch.where(usable, raw, self.raw))
        self.moments.copy_(torch.where(usable, moments, self.moments))
        self.num_updates += usable
