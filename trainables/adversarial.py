"""The adversarial term: how far a discriminator tells the prediction from a real image."""

from typing import Any

import torch
from torch import Tensor, distributed, nn

from trainables.optimiser import Adam
from trainables.startup import lean_import


class AdversarialTerm(nn.Module):
    """Least-squares patch discriminator with an optimiser of its own.

    A call in training mode first trains the discriminator one step on the detached prediction (to 0) and the
    target (to 1), then returns the generator's loss mean((D(prediction) - 1)^2); in eval mode or without
    gradients it only returns that. It is at least 0, but not 0 for equal images: a discriminator that can't tell
    them apart says 1/2. Discriminator and optimiser are saved in and restored from `state_dict()`. With a mask
    both images are 0 outside. Data-parallel ranks average the discriminator's gradients, so that it stays one.

    Source: Mao et al., "Least squares generative adversarial networks", ICCV 2017; discriminator of Isola et al.,
    "Image-to-image translation with conditional adversarial networks", CVPR 2017, as in MONAI.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the images.
        channels: of the discriminator's first layer.
        num_layers: of the discriminator; each halves the image.
        learning_rate: of its Adam.
        seed: of its initial weights.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        channels: int = 32,
        num_layers: int = 3,
        learning_rate: float = 2e-4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        with lean_import():
            from monai.networks.nets import PatchDiscriminator

        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.discriminator = PatchDiscriminator(
                spatial_dims,
                channels,
                in_channels,
                num_layers_d=num_layers,
                norm="INSTANCE",
            )
        # Only its own optimiser may train it: a training loop that collects parameters skips frozen ones.
        self.discriminator.requires_grad_(False)
        self.optimiser = Adam(self.discriminator.parameters(), lr=learning_rate, betas=(0.5, 0.999))

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            prediction, target = prediction * mask, target * mask
        if self.training and torch.is_grad_enabled():
            self._train_discriminator(prediction.detach(), target.detach())
        return self._distance(prediction, 1.0)

    def _train_discriminator(self, prediction: Tensor, target: Tensor) -> None:
        self.discriminator.requires_grad_(True)
        loss = 0.5 * (self._distance(prediction, 0.0) + self._distance(target, 1.0))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if distributed.is_available() and distributed.is_initialized():
            for parameter in self.discriminator.parameters():
                if parameter.grad is not None:
                    distributed.all_reduce(parameter.grad.div_(distributed.get_world_size()))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)

    def _distance(self, images: Tensor, label: float) -> Tensor:
        return (self.discriminator(images)[-1] - label).square().mean()

    def get_extra_state(self) -> dict[str, Any]:
        """The optimiser's state: tensors and plain values."""
        return self.optimiser.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores the optimiser."""
        self.optimiser.load_state_dict(state)
