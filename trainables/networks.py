"""Generators by name. One function and one registry line add a network; others come from elsewhere, see
`trainables.extensions`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config import NetworkConfig
from trainables.errors import UserError, blame
from trainables.extensions import find
from trainables.startup import lean_import

with lean_import():
    from monai.networks.nets import UNet


class Residual(nn.Module):
    """Adds a body's output to the central source slice: the body learns the change from source to target."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, source: Tensor) -> Tensor:
        """Images (B, C, H, W) to (B, 1, H, W)."""
        centre = source.shape[1] // 2
        return source[:, centre : centre + 1] + self.body(source)


NORMS: dict[str, Any] = {"none": None, "group": ("group", {"num_groups": 4}), "instance": "instance", "batch": "batch"}


def unet(config: NetworkConfig, in_channels: int) -> nn.Module:
    """MONAI's U-Net: strided convolutions, ReLU, nearest to Ronneberger et al., MICCAI 2015."""
    if config.options:
        raise UserError(f"training.network.options: unet has no option {next(iter(config.options))!r}.")
    strides = config.strides or (2,) * (len(config.channels) - 1)
    if len(strides) != len(config.channels) - 1:
        raise UserError(
            f"training.network.strides: {len(config.channels)} channels need {len(config.channels) - 1} strides, "
            f"not {len(strides)}."
        )
    return UNet(
        spatial_dims=2,
        in_channels=in_channels,
        out_channels=1,
        channels=config.channels,
        strides=strides,
        num_res_units=config.num_res_units,
        norm=NORMS[config.norm],
        act=("relu", {"inplace": True}),  # the same bits, less memory to walk through
    )


NETWORKS: dict[str, Callable[[NetworkConfig, int], nn.Module]] = {"unet": unet}
"""Their passes are recorded on a GPU and replayed: all they do is done by tensors on the device."""


def make_network(
    config: NetworkConfig, *, in_channels: int, seed: int, device: torch.device | str = "cpu"
) -> nn.Module:
    """The network with its initial weights, a function of `seed` alone, in the layout that is fastest on the device.

    Raises:
        UserError: no network has that name, or an option does not fit.
    """
    try:
        make = find("networks", config.name, NETWORKS)
    except UserError as error:
        raise UserError(f"training.network.name: {error}") from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with blame(f"training.network: making {config.name!r}"):
            body = make(config, in_channels)
    if not isinstance(body, nn.Module):
        raise UserError(f"training.network: {config.name!r} makes no torch.nn.Module, but {type(body).__name__}")
    device = torch.device(device)
    if device.type == "cpu":  # channels last: a fifth less time a step; a GPU's instance norm would turn them round
        body = body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # none in torch
    body = body.to(device)
    if not config.residual:
        return body
    # The last layer starts at zero, so that training starts from the source image itself.
    layers = [module for module in body.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    if not layers:
        raise UserError(
            f"training.network.residual: {config.name} has no convolution that could start at zero; set it to false."
        )
    for parameter in layers[-1].parameters():
        nn.init.zeros_(parameter)
    return Residual(body)
