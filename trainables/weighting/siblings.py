"""Weightings of TorchJD (`torchjd.scalarization`), held to the contract of the others.

A scalarizer S maps K losses to a scalar; its effective weights are the slopes dS/dL_i, scaled to sum to 1. Trained
with the scalar sum of weights times losses, the network gets the direction it would get from S, at a length that
doesn't depend on the method. What S learns (uncertainties) keeps its own gradient, unscaled.
"""

from typing import Any

import torch
from torch import Tensor, nn

from trainables.errors import UserError
from trainables.weighting.base import LossWeighting
from trainables.weighting.draws import Draws

LEAST, MOST = 1e-12, 1e12
"""Losses beyond count as these, so that logarithms and ratios stay finite."""


def _torchjd(name: str, *options: Any) -> Any:
    # TorchJD's other half takes most of a second to import: only who uses it waits.
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


class _Learned(ScalarizerWeighting):
    """A scalarizer with parameters: hand `parameters()` to the optimiser beside the network's."""

    def combine(self, weights: Tensor, losses: Tensor, observed: Tensor) -> Tensor:
        learned = self.scalarizer(observed)
        # Adds nothing to the value, and to the gradient only that of the parameters.
        return super().combine(weights, losses, observed) + (learned - learned.detach())


class UncertaintyWeighting(_Learned):
    """UW: sum(exp(-s_i) L_i / 2 + s_i / 2) with learned log-variances s.

    Source: Kendall, Gal and Cipolla, CVPR 2018.
    """

    def __init__(self, num_terms: int, **options: Any) -> None:
        super().__init__(num_terms, _torchjd("UW", num_terms), **options)


class IMTLLWeighting(_Learned):
    """IMTL-L: sum(exp(s_i) L_i - s_i) with learned scales s.

    Source: Liu et al., "Towards impartial multi-task learning", ICLR 2021.
    """

    def __init__(self, num_terms: int, **options: Any) -> None:
        super().__init__(num_terms, _torchjd("IMTLL", num_terms), **options)


class DWAWeighting(ScalarizerWeighting):
    """Dynamic weight average: softmax of the ratio of the losses' means over the last two epochs.

    Source: Liu, Johns and Davison, "End-to-end multi-task learning with attention", CVPR 2019.

    Args:
        num_terms: K.
        temperature: above 0; large is equal weights.
        epoch_steps: training steps of what the paper calls an epoch.
        **options: of `LossWeighting`.
    """

    refuses_negative = True

    def __init__(self, num_terms: int, *, temperature: float = 2.0, epoch_steps: int = 100, **options: Any) -> None:
        if not (temperature > 0 and epoch_steps >= 1):
            raise UserError("DWA needs a temperature above 0 and epoch_steps of 1 or more")
        super().__init__(num_terms, _torchjd("DWA", temperature), **options)
        self.epoch_steps = epoch_steps

    @property
    def _dwa(self) -> Any:
        return self.scalarizer

    def _slopes(self, losses: Tensor) -> Tensor:
        slopes = super()._slopes(losses.clamp(LEAST, MOST))
        if self._dwa._n_batches >= self.epoch_steps:
            self._dwa.step()
        return slopes

    # TorchJD keeps DWA's history in plain attributes, which no state_dict() would hold.

    def get_extra_state(self) -> dict[str, Any]:
        """The sums of this epoch and the means of the last two."""
        return {
            "sum": self._dwa._loss_sum,
            "num_batches": self._dwa._n_batches,
            "means": self._dwa._previous_averages,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores the history, on the device of the weights."""
        device = self.weights.device
        self._dwa._loss_sum = None if state["sum"] is None else state["sum"].to(device)
        self._dwa._n_batches = state["num_batches"]
        self._dwa._previous_averages = [mean.to(device) for mean in state["means"]]


class RandomWeighting(ScalarizerWeighting):
    """RLW: softmax of normal draws, new at each step: what any weighting must beat.

    Source: Lin, Ye and Zhang, "Reasonable effectiveness of random weighting", TMLR 2022.

    Args:
        num_terms: K.
        seed: of the draws.
        **options: of `LossWeighting`.
    """

    def __init__(self, num_terms: int, *, seed: int = 0, **options: Any) -> None:
        super().__init__(num_terms, _torchjd("Random"), **options)
        self.draws = Draws(seed)

    def _slopes(self, losses: Tensor) -> Tensor:
        # TorchJD draws from the global generator, which must go on as if nothing had been drawn. On the host,
        # where the losses' values, which play no part, need not be known.
        state = torch.default_generator.get_state()
        try:
            torch.default_generator.manual_seed(self.draws.next().getrandbits(63))
            slopes = super()._slopes(torch.ones(self.num_terms, dtype=losses.dtype))
        finally:
            torch.default_generator.set_state(state)
        return slopes.to(losses.device, non_blocking=True)


class GeometricMeanWeighting(ScalarizerWeighting):
    """Geometric mean of the losses: weights proportional to 1 / L_i. TorchJD reads their signs on the host.

    Source: Chennupati et al., "MultiNet++", CVPR workshops 2019.
    """

    refuses_negative = True

    def __init__(self, num_terms: int, **options: Any) -> None:
        super().__init__(num_terms, _torchjd("GeometricMean"), **options)

    def _slopes(self, losses: Tensor) -> Tensor:
        return super()._slopes(losses.clamp(LEAST, MOST))


class STCHWeighting(ScalarizerWeighting):
    """Smooth Tchebycheff: mu log sum exp(L_i / (K mu)), a smooth form of the largest loss.

    Source: Lin et al., "Smooth Tchebycheff scalarization for multi-objective optimization", ICML 2024.

    Args:
        num_terms: K.
        mu: smoothing, above 0; small looks at the largest loss alone. Compare it with the losses' scale.
        **options: of `LossWeighting`.
    """

    def __init__(self, num_terms: int, *, mu: float = 0.1, **options: Any) -> None:
        if not mu > 0:
            raise UserError(f"STCH needs mu above 0, not {mu}")
        super().__init__(num_terms, _torchjd("STCH", mu), **options)
