"""Random weights, new at each step: what any weighting must beat."""

from typing import Any

import torch
from torch import Tensor

from trainables.weighting.draws import Draws
from trainables.weighting.siblings import ScalarizerWeighting, make_scalarizer


class RandomWeighting(ScalarizerWeighting):
    """RLW: softmax of normal draws, new at each step: what any weighting must beat.

    Source: Lin, Ye and Zhang, "Reasonable effectiveness of random weighting", TMLR 2022.

    Args:
        num_terms: K.
        seed: of the draws.
        **options: of `LossWeighting`.
    """

    name = "random"

    def __init__(self, num_terms: int, *, seed: int = 0, **options: Any) -> None:
        super().__init__(num_terms, make_scalarizer("Random"), **options)
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
