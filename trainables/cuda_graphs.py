"""Network and losses of a training step as CUDA graphs: one launch each way, not one a kernel.

The kernels of a small network run faster than a program can launch them one by one, and the GPU waits.
"""

import warnings
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config import TrainingConfig
from trainables.inference import autocast
from trainables.losses import TERMS, LossTerms
from trainables.networks import NETWORKS
from trainables.weighting import WEIGHTINGS, LossWeighting


class NetworkLosses(nn.Module):
    """Images to the losses of the network's prediction: all of a step that is the same in every arm.

    Args:
        network: (B, C, H, W) to (B, 1, H, W).
        losses: of a prediction and its target.
        config: says at which precision.
        device: where both are.
    """

    def __init__(self, network: nn.Module, losses: LossTerms, config: TrainingConfig, device: torch.device) -> None:
        super().__init__()
        self.network, self.losses = network, losses
        self._precision, self._device = config.precision, device

    def forward(self, source: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The losses (K,) of a batch: source (B, C, H, W), target and mask (B, 1, H, W)."""
        with autocast(self._device, self._precision, cached=False):
            return self.losses(self.network(source), target, mask)


class RecordedLosses:
    """The same, recorded for each shape of a batch when the first comes. A replay gives the same losses and gradients.

    Args:
        step: what is recorded; see `can_be_recorded`.
    """

    def __init__(self, step: NetworkLosses) -> None:
        self._step = step
        self._pool = torch.cuda.graph_pool_handle()  # the graphs run one after another, and share their memory
        self._recorded: dict[torch.Size, Callable[..., Tensor]] = {}

    def __call__(self, source: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """As `NetworkLosses`."""
        batch = (source, target) if mask is None else (source, target, mask)
        if source.shape not in self._recorded:
            self._recorded[source.shape] = self._record(batch)
        return self._recorded[source.shape](*batch)

    def _record(self, batch: tuple[Tensor, ...]) -> Callable[..., Tensor]:
        state = {name: tensor.clone() for name, tensor in self._step.state_dict().items()}
        images = tuple(image.clone() for image in batch)  # the graphs' own: every batch is copied there
        # The recorded backward pass leaves its gradients on another stream. Torch waits for it, and warns all the same.
        # (There is no narrower switch.)
        warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match", UserWarning)
        recorded: Any = torch.cuda.make_graphed_callables(copy(self._step), images, pool=self._pool)
        self._step.load_state_dict(state)  # the passes were tried out, which moves the statistics of a batch norm
        return recorded


def can_be_recorded(
    config: TrainingConfig, terms: Sequence[str], weighting: LossWeighting, device: torch.device
) -> bool:
    """Whether a replay does all that a step would: with what is built in, but for terms that are networks.

    User-defined components may do work on the host, which a replay would leave out unseen. And after one replay of the
    backward pass the memory of the forward pass is gone, so that a weighting must not ask for gradients of its own.
    """
    return (
        device.type == "cuda"
        and config.network.name in NETWORKS
        and all(term in TERMS for term in terms)
        and type(weighting) in WEIGHTINGS.values()
        and not weighting.takes_gradients
    )
