"""The loss terms, by name: a prediction and a target become a vector of K losses.

A term is one function `(prediction, target, mask) -> scalar` and one line in `TERMS`, or it comes from elsewhere, see
`trainables.extensions`. Images are (B, C, H, W)
or (B, C, D, H, W) with values of about 0 to 1. The mask is None (all voxels count) or broadcasts to the
images; voxels where it is 0 don't count. Every term is at least 0, and 0 where the images are equal. Terms
stay at their natural scale.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables import ssim as structural
from trainables.adversarial import AdversarialTerm
from trainables.errors import UserError, blame, did_you_mean
from trainables.extensions import find
from trainables.perceptual import PerceptualTerm

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


MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ms_ssim(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 - MS-SSIM: structure at up to five scales, luminance at the coarsest, as a weighted geometric mean.

    Source: Wang, Simoncelli and Bovik, Asilomar 2003. Departures: of the five scales, those at which the window
    fits are used (176 voxels an axis for all five), their weights scaled to sum to 1; a factor enters as no
    less than 1e-6, where the power of a negative one would have no gradient.
    """
    x, y = (image.flatten(0, 1) for image in (prediction, target))
    share = None if mask is None else mask.to(x.dtype).expand_as(prediction).flatten(0, 1)
    total = x.new_zeros(len(x))
    weights = MS_WEIGHTS[: _num_scales(x.shape[1:])]
    for level, weight in enumerate(weights, start=1):
        images = (x, y) if share is None else (structural.mirror(x), structural.mirror(y))
        luminance, error = structural.errors(*images)
        if level == len(weights):
            error = structural.combined(luminance, error)
        means = _image_means(error, share)
        total = total + weight / sum(weights) * torch.log1p(-means.clamp(max=1 - 1e-6))
        if level < len(weights):
            x, y = _halve(x), _halve(y)
            share = None if share is None else _halve(share)
    # 1 - exp(total), exact near equality.
    return -torch.expm1(total).mean()


def _num_scales(shape: Sequence[int]) -> int:
    size, scales = min(shape), 1
    while (size + 1) // 2 >= structural.WINDOW and scales < len(MS_WEIGHTS):
        size, scales = (size + 1) // 2, scales + 1
    return scales


def _halve(images: Tensor) -> Tensor:
    pool = functional.avg_pool2d if images.dim() == 3 else functional.avg_pool3d
    return pool(images, 2, padding=[size % 2 for size in images.shape[1:]])


def _image_means(values: Tensor, share: Tensor | None) -> Tensor:
    if share is None:
        return values.flatten(1).mean(1)
    return (values * share).flatten(1).sum(1) / share.flatten(1).sum(1).clamp(min=1e-6)


def gradient(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference of the finite differences, averaged over the spatial axes.

    Source: gradient difference loss of Mathieu, Couprie and LeCun, ICLR 2016, alpha = 1. Departure: differences
    keep their sign, as an edge that turns from bright to dark between two images (a lesion that fills in) is an error.
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
    "ms-ssim": ms_ssim,
    "gradient": gradient,
    "frequency": frequency,
}
"""On a GPU they are recorded and replayed: all they do is done by tensors on the device."""


NETWORK_TERMS: dict[str, type[nn.Module]] = {"perceptual": PerceptualTerm, "adversarial": AdversarialTerm}
"""Terms that are networks themselves: modules with options, called like the others."""


class LossTerms(nn.Module):
    """A vector of loss terms.

    Args:
        names: terms of `TERMS`, `NETWORK_TERMS` or from elsewhere, in the order of the vector.
        options: of the terms that are networks, by name.

    Raises:
        UserError: no name, an unknown name, one that is given twice, or an option of a term that has none.
    """

    def __init__(self, names: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__()
        found = {name: find("terms", name, TERMS | NETWORK_TERMS) for name in names}
        if not names or len(found) < len(names):
            raise UserError(f"loss terms must be given, each once, not {list(names)}")
        options = options or {}
        for name in options:
            if not _is_network(found.get(name)):
                raise UserError(f"options are given for {name!r}, which is no term here that takes any")
            known_options = inspect.signature(found[name].__init__).parameters
            for option in options[name]:
                if option not in known_options:
                    hint = did_you_mean(option, [key for key in known_options if key != "self"])
                    raise UserError(f"the term {name!r} has no option {option!r}{hint}")
        self.names = tuple(names)
        networks: dict[str, nn.Module] = {}
        for name, part in found.items():
            if _is_network(part):
                with blame(f"making the term {name!r}"):
                    networks[name] = part(**options.get(name, {}))
            elif not callable(part):
                raise UserError(f"loss term {name!r} must be a function or a torch.nn.Module class, not {part!r}")
        self.terms: dict[str, Term] = {name: networks.get(name, part) for name, part in found.items()}
        """By name."""
        # A module's name must not hold a dot, as `package.module:Term` does.
        self.networks = nn.ModuleDict({name.replace(".", "/"): network for name, network in networks.items()})

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
            return torch.stack([term(prediction, target, mask) for term in self.terms.values()])


def _is_network(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, nn.Module)
