"""Random draws whose whole state is how many there were."""

import random

import torch
from torch import Tensor, nn


class Draws(nn.Module):
    """A source of random numbers on the host: nothing is read from the device, nothing global is touched.

    Args:
        seed: the n-th draw is a function of the seed and n.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.num_drawn = 0

    def next(self) -> random.Random:
        """The generator of the next draw."""
        self.num_drawn += 1
        return random.Random(f"{self.seed}/{self.num_drawn}")

    def get_extra_state(self) -> Tensor:
        """The number of draws so far."""
        return torch.tensor(self.num_drawn)

    def set_extra_state(self, state: Tensor) -> None:
        """Goes on after that many draws."""
        self.num_drawn = int(state)
