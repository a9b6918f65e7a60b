"""A loss term, a weighting, a network and a metric that are no part of cov-study."""

import torch
from torch import Tensor, nn

from trainables.config import NetworkConfig
from trainables.losses import masked_mean
from trainables.metrics import Metric
from trainables.weighting import LossWeighting


# [term]
def relative_error(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error in units of the target: dark voxels count as much as bright ones."""
    return masked_mean((prediction - target).abs() / (target.abs() + 0.1), mask)


# [weighting]
class LargerFirst(LossWeighting):
    """The larger a loss's running mean, the more it weighs."""

    running: Tensor

    def __init__(self, num_terms: int, *, decay: float = 0.9, **options) -> None:
        super().__init__(num_terms, **options)
        self.decay = decay
        self.register_buffer("running", torch.full((num_terms,), 1e-6))

    def next_weights(self, losses: Tensor) -> Tensor:
        seen = torch.where(losses.isfinite(), losses.clamp(min=1e-6), self.running)
        self.running.lerp_(seen, 1 - self.decay)
        return self.running / self.running.sum()


# [network]
def plain(config: NetworkConfig, in_channels: int) -> nn.Module:
    """Convolutions at full resolution: `channels[0]` wide, `options: {layers: ...}` of them."""
    width, num_layers = config.channels[0], config.options.get("layers", 3)
    layers: list[nn.Module] = []
    for _ in range(num_layers - 1):
        layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU()]
        in_channels = width
    return nn.Sequential(*layers, nn.Conv2d(in_channels, 1, 3, padding=1))


# [metric]
def bias(prediction: Tensor, target: Tensor, region: Tensor) -> Tensor:
    """How far the mean intensity of a region is off."""
    return (prediction[region].mean() - target[region].mean()).abs()


BIAS = Metric("bias", goal="min", score=bias)
# [end]
