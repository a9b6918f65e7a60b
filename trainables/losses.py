"""The loss terms, by name: a prediction and a target become a vector of K losses.

A term is one function `(prediction, target, mask) -> scalar` and one line in `TERMS`. Images are (B, C, H, W)
or (B, C, D, H, W) with values of about 0 to 1. The mask is None (all voxels count) or broadcasts to the
images; voxels where it is 0 don't count. Every term is at least 0, and 0 where the images are equal. Terms
stay at their natural scale.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trainables import ssim as structural
from trainables.errors import UserError, did_you_mean

Term = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of the values where the mask is not 0; 0 for an empty mask."""
    if mask is None:
        return values.mean()
    share = mask.to(values.dtype).expand_as(values)
    return (values * share).sum() / share.sum().clamp(min=1)


def l1(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error."""
    return masked_mean((prediction - target).abs(), mask)


def l2(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error."""
    return masked_mean((prediction - target).square(), mask)


def charbonnier(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of sqrt(d^2 + c^2) - c with c = 1e-3: an L1 that is smooth at 0.

    Source: Charbonnier et al., ICIP 1994; c as in Lai et al., CVPR 2017. Departure: c is subtracted, so
        equality gives 0.
    """
    c = 1e-3
    square = (prediction - target).square()
    # The same as sqrt(d^2 + c^2) - c, without its cancellation near 0.
    return masked_mean(square / ((square + c * c).sqrt() + c), mask)


def ssim(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 - SSIM, averaged where the window fits; with a mask: over the mask, images mirrored at their ends."""
    images = [image.flatten(0, 1) for image in (prediction, target)]
    if mask is not None:
        images = [structural.mirror(image) for image in images]
    error = structural.combined(*structural.errors(*images))
    return masked_mean(error.view(*prediction.shape[:2], *error.shape[1:]), mask)


def gradient(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference of the finite differences, averaged over the spatial axes.

    Source: gradient difference loss of Mathieu, Couprie and LeCun, ICLR 2016, alpha = 1. Departure:
        differences keep their
    sign, as an edge that turns from bright to dark between two images (a lesion that fills in) is an error.
    """
    difference = prediction - target
    axes = range(2, difference.dim())
    total = difference.new_zeros(())
    for axis in axes:
        both = None
        if mask is not None:
            share = mask.to(difference.dtype).expand_as(difference)
            length = share.shape[axis] - 1
            both = share.narrow(axis, 0, length) * share.narrow(axis, 1, length)
        total = total + masked_mean(difference.diff(dim=axis).abs(), both)
    return total / len(axes)


def frequency(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean modulus of the difference of the two spectra: magnitude and phase together.

    The transform is orthonormal and linear, so that one real FFT of the difference image is enough. (A
    squared modulus would be the mean squared error again, by Parseval.) With a mask the difference is set to
    0 outside.

    Source: the frequency distance of Jiang et al., "Focal frequency loss", ICCV 2021, eq. 5, as L1 and
        without focal weights.
    """
    difference = prediction - target
    if mask is not None:
        difference = difference * mask
    axes = tuple(range(2, difference.dim()))
    modulus = torch.fft.rfftn(difference, dim=axes, norm="ortho").abs()
    # A real image's spectrum is symmetric: the half that is left out equals columns 1 .. (W - 1) // 2.
    twin = modulus[..., 1 : (difference.shape[-1] + 1) // 2]
    return (modulus.sum() + twin.sum()) / difference.numel()


TERMS: dict[str, Term] = {
    "l1": l1,
    "l2": l2,
    "charbonnier": charbonnier,
    "ssim": ssim,
    "gradient": gradient,
    "frequency": frequency,
}


class LossTerms(nn.Module):
    """A vector of loss terms.

    Args:
        names: terms of `TERMS`, in the order of the vector.

    Raises:
        UserError: no name, an unknown name, or one that is given twice.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        for name in names:
            if name not in TERMS:
                raise UserError(f"unknown loss term {name!r}{did_you_mean(name, TERMS)}")
        if not names or len(set(names)) < len(names):
            raise UserError(f"loss terms must be given, each once, not {list(names)}")
        self.names = tuple(names)

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The losses (K,), in float32 or better whatever autocast says.

        Args:
            prediction, target: (B, C, H, W) or (B, C, D, H, W).
            mask: None, or broadcasts to the images.
        """
        with torch.autocast(prediction.device.type, enabled=False):
            if prediction.dtype in (torch.float16, torch.bfloat16):
                prediction = prediction.float()
            target = target.to(prediction.dtype)
            return torch.stack([TERMS[name](prediction, target, mask) for name in self.names])
