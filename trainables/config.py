"""What one training is told, the same in every arm: network, schedule, precision, budget of steps."""

from typing import Any, Literal

from pydantic import Field

from trainables.cohort.config import Augmentation
from trainables.frozen import FrozenModel

Precision = Literal["fp32", "bf16", "auto"]


class NetworkConfig(FrozenModel):
    """A generator by name, with its size."""

    name: str = "unet"
    """`unet`, MONAI's, or a user-defined one."""
    channels: tuple[int, ...] = Field(default=(16, 16, 32, 64), min_length=2)
    """Feature channels from the finest level to the coarsest."""
    strides: tuple[Literal[1, 2], ...] | None = (1, 2, 2)
    """Between the levels: 2 halves the image, 1 keeps it; None halves it everywhere. One fewer than channels."""
    norm: Literal["none", "group", "instance", "batch"] = "none"
    """Normalisation of a level's features."""
    num_res_units: int = Field(default=0, ge=0)
    """Residual units a level; 0 makes it one plain convolution."""
    residual: bool = True
    """Predict the difference from the source image, so that training starts from the identity."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Whatever else a user-defined network wants to be told."""


class TrainingConfig(FrozenModel):
    """One training run. Everything here is identical in all arms of a study."""

    network: NetworkConfig = NetworkConfig()
    epochs: int = Field(default=10, ge=1)
    """Validations; with `steps_per_epoch` given, an epoch is that many steps and not a pass over the data."""
    steps_per_epoch: int | None = Field(default=None, ge=1)
    """Optimiser steps; None is one pass over the training slices."""
    batch_size: int = Field(default=8, ge=1)
    """Slices a step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Of Adam, at the start."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """`cosine` lets it fall to 0 over the training."""
    weight_decay: float = Field(default=0.0, ge=0)
    precision: Precision = "fp32"
    """`auto` is bf16 autocast where the GPU has it, else fp32."""
    masked_losses: bool = False
    """Compute the losses inside the mask only; by default the whole cropped image counts."""
    term_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of the terms that have some (`perceptual`, `adversarial`), by term."""
    augmentation: Augmentation | None = None
    """Random changes to training slices; none by default."""
    eval_batch_size: int = Field(default=32, ge=1)
    """Slices at a time where nothing is learned."""
