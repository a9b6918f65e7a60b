"""Random changes to training slices, by MONAI, the same for source, target and mask."""

import math

import numpy as np
import torch
from monai.transforms import Compose, RandAffined, RandFlipd, RandScaleIntensityd
from torch import Tensor

from trainables.cohort.config import Augmentation

_IMAGES = ("source", "target")
_ALL = (*_IMAGES, "mask")


class Augment:
    """Augments batches; the seed, epoch and batch number alone decide how, so a resumed training goes on alike.

    Args:
        config: which changes, how often and how large.
        seed: seed of the training.
    """

    def __init__(self, config: Augmentation, *, seed: int) -> None:
        self._seed = seed
        self._transform = Compose(
            [
                RandFlipd(_ALL, prob=config.flip_probability, spatial_axis=1),
                RandAffined(
                    _ALL,
                    prob=config.affine_probability,
                    rotate_range=math.radians(config.rotate_degrees),
                    translate_range=config.translate_voxels,
                    scale_range=config.scale,
                    mode=("bilinear", "bilinear", "nearest"),
                    padding_mode="border",
                ),
                RandScaleIntensityd(_IMAGES, factors=config.intensity, prob=config.intensity_probability),
            ]
        )

    def __call__(
        self, source: Tensor, target: Tensor, mask: Tensor | None, *, epoch: int, batch: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Changed copies of source (B, C, H, W), target (B, 1, H, W) and mask (B, 1, H, W), dtypes kept."""
        if mask is None:
            source, target, _ = self(source, target, torch.ones_like(target), epoch=epoch, batch=batch)
            return source, target, None
        state = np.random.SeedSequence((self._seed, epoch, batch)).generate_state(1)[0]
        self._transform.set_random_state(seed=int(state))
        samples = [
            self._transform({"source": s, "target": t, "mask": m})
            for s, t, m in zip(source, target, mask.to(source.dtype), strict=True)
        ]
        images, targets, masks = (
            torch.stack([torch.as_tensor(sample[key].as_tensor()) for sample in samples]) for key in _ALL
        )
        return images, targets, (masks > 0.5).to(mask.dtype)
