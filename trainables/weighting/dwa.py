"""DWA: a loss that fell less from one epoch to the next weighs more.

Source: Liu, Johns and Davison, "End-to-end multi-task learning with attention", CVPR 2019, equation 7.
"""

from typing import Any

import torch
from torch import Tensor

from trainables.errors import UserError
from trainables.weighting.base import LossWeighting
from trainables.weighting.siblings import LEAST, MOST


class DWAWeighting(LossWeighting):
    """Dynamic weight average: softmax(r / T) with the ratio r of the losses' means over the last two epochs.

    The weights are equal during the first two epochs. A step with a loss that is not finite repeats the losses of the
    last one that had none.

    Args:
        num_terms: K.
        temperature: T, above 0; large is equal weights.
        epoch_steps: training steps of what the paper calls an epoch.
        **options: of `LossWeighting`.

    Raises:
        UserError: an option is out of its range.
    """

    name = "dwa"
    refuses_negative = True

    last: Tensor
    """(K,) the last finite losses."""
    sums: Tensor
    """(K,) sums of the losses over the steps of this epoch."""
    num_summed: Tensor
    """() steps of this epoch so far."""
    means: Tensor
    """(2, K) means of the last epoch but one and of the last; NaN before there are such."""

    def __init__(self, num_terms: int, *, temperature: float = 2.0, epoch_steps: int = 100, **options: Any) -> None:
        if not (temperature > 0 and epoch_steps >= 1):
            raise UserError("DWA needs a temperature above 0 and epoch_steps of 1 or more")
        super().__init__(num_terms, **options)
        self.temperature, self.epoch_steps = temperature, epoch_steps
        self.register_buffer("last", torch.ones(num_terms))
        self.register_buffer("sums", torch.zeros(num_terms))
        self.register_buffer("num_summed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("means", torch.full((2, num_terms), torch.nan))
        self.register_load_state_dict_pre_hook(_into_buffers)

    def next_weights(self, losses: Tensor) -> Tensor:
        weights = torch.softmax(self.means[1] / self.means[0] / self.temperature, 0)
        weights = self.num_terms * weights / (self.num_terms * weights).sum()  # as it was with the paper's factor K
        self.last.copy_(torch.where(losses.isfinite().all(), losses, self.last))
        self.sums += self.last.clamp(LEAST, MOST)
        self.num_summed += 1
        ended = self.num_summed >= self.epoch_steps
        means = torch.stack((self.means[1], self.sums / self.epoch_steps))
        self.means.copy_(torch.where(ended, means, self.means))
        self.sums *= ~ended
        self.num_summed *= ~ended
        return torch.where(weights.isfinite().all(), weights, self.weights)


def _into_buffers(weighting: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Lets a state be loaded that was saved while the history lay outside of the buffers."""
    history = state.pop(f"{prefix}_extra_state", None)
    if history is None:
        return
    nothing = torch.full_like(weighting.last, torch.nan)
    state[f"{prefix}sums"] = torch.zeros_like(weighting.last) if history["sum"] is None else history["sum"]
    state[f"{prefix}num_summed"] = torch.tensor(history["num_batches"])
    state[f"{prefix}means"] = torch.stack([nothing, nothing, *(m.to(nothing) for m in history["means"])][-2:])
