"""The perceptual term: distance in the features of a network that was trained on other images."""

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from trainables.errors import UserError
from trainables.startup import lean_import

WEIGHTS_NAME = "resnet50-11ad3fa6.pth"
"""Torchvision's own name of its ResNet-50 weights (IMAGENET1K_V2)."""


class PerceptualTerm(nn.Module):
    """MONAI's `PerceptualLoss` on the features of a ResNet-50; a volume is compared in slices along three axes.

    The weights are a local file: nothing is ever downloaded. With a mask both images are 0 outside. The network
    is frozen and no part of the state.

    Args:
        weights: file with a state dict of torchvision's `resnet50`; None is torch hub's folder of checkpoints.
        key: where the state dict lies inside the file, if it is not the file itself.
        spatial_dims: 2 for slices, 3 for volumes.

    Raises:
        UserError: the file is missing or holds no such state dict, or torchvision is missing or doesn't fit
            torch.
    """

    def __init__(self, weights: str | Path | None = None, key: str | None = None, spatial_dims: int = 2) -> None:
        super().__init__()
        path = Path(weights) if weights else Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_NAME
        if not path.is_file():
            raise UserError(
                f"the perceptual term needs {path}: put torchvision's resnet50 weights ({WEIGHTS_NAME}, from "
                "download.pytorch.org/models) there, or name another file as its option `weights`"
            )
        # A plain list hides the network from state_dict() and parameters(), and from to(): see forward.
        self._hidden = [_load(path, key, spatial_dims)]
        self._device = torch.device("cpu")

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        if self._device != prediction.device:
            self._hidden[0].to(prediction.device)
            self._device = prediction.device
        if mask is not None:
            prediction, target = prediction * mask, target * mask
        # One channel at a time: MONAI changes images of three channels in place.
        images = [image.flatten(0, 1).unsqueeze(1) for image in (prediction, target)]
        return self._hidden[0](*images)


def _load(path: Path, key: str | None, spatial_dims: int) -> nn.Module:
    with lean_import():
        from monai.losses import PerceptualLoss

    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"the perceptual term needs a torchvision that fits torch {torch.__version__}: {error}"
        ) from error
    try:
        return PerceptualLoss(spatial_dims, "resnet50", pretrained_path=str(path), pretrained_state_dict_key=key)
    except (RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
        problem = str(error).splitlines()[0]
        raise UserError(f"{path}: no state dict of torchvision's resnet50 ({problem})") from error
