"""Structural similarity in two and three dimensions: Gaussian windows, separable and fast on a CPU.

Everything is computed from e = x - y and s = x + y. With <.> the windowed mean and v(.) the windowed variance,
<x>^2 + <y>^2 = (<s>^2 + <e>^2) / 2 and v(x) + v(y) = (v(s) + v(e)) / 2, and the factors of SSIM become

    luminance             l  = 1 - <e>^2 / (<x>^2 + <y>^2 + C1)
    contrast x structure  cs = 1 - v(e)  / (v(x) + v(y) + C2)

Four filtered images instead of five; and 1 - l and 1 - cs are exactly 0 where x = y, without cancellation.

Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE TIP 2004, eq. 13. Constants and window as scikit-image with `gaussian_weights=True,
use_sample_covariance=False`.
"""

import torch
from torch import Tensor
from torch.nn import functional

from trainables.errors import UserError

SIGMA = 1.5
RADIUS = 5
"""3.5 standard deviations, rounded: a window of 11 voxels."""
WINDOW = 2 * RADIUS + 1
C1 = 0.01**2
C2 = 0.03**2
"""For a data range of 1."""


def symmetric(start: int, stop: int, size: int, device: torch.device | None = None) -> Tensor:
    """Indices start .. stop - 1 of an axis of `size` voxels, mirrored at its ends (b a | a b c | c b)."""
    index = torch.arange(start, stop, device=device).remainder(2 * size)
    return torch.minimum(index, 2 * size - 1 - index)


def smooth(images: Tensor) -> Tensor:
    """Gaussian filter over all axes but the first, where the window fits.

    Args:
        images: (N, H, W) or (N, D, H, W).

    Returns:
        The same with each spatial axis shortened by 2 * RADIUS.
    """
    offset = torch.arange(-RADIUS, RADIUS + 1, dtype=images.dtype, device=images.device)
    kernel = torch.softmax(-0.5 * (offset / SIGMA).square(), 0)
    if images.dim() == 4:
        n, depth, height, width = images.shape
        # Along the depth, each row of the images is a plane of its own.
        planes = images.transpose(1, 2).reshape(n * height, depth, width)
        planes = _smooth_planes(planes, kernel.view(WINDOW, 1))
        images = planes.view(n, height, -1, width).transpose(1, 2)
    planes = images.flatten(0, -3)
    planes = _smooth_planes(_smooth_planes(planes, kernel.view(WINDOW, 1)), kernel.view(1, WINDOW))
    return planes.view(*images.shape[:-2], *planes.shape[-2:])


def _smooth_planes(planes: Tensor, kernel: Tensor) -> Tensor:
    # All planes are channels of one image: a depthwise convolution is by far the fastest on a CPU.
    n = planes.shape[0]
    return functional.conv2d(planes[None], kernel.expand(n, 1, *kernel.shape), groups=n)[0]


def errors(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance error 1 - l and structure error 1 - cs, where the window fits.

    Args:
        prediction, target: (N, H, W) or (N, D, H, W), data range 1, at least WINDOW voxels along each axis.

    Returns:
        Two maps, each spatial axis shortened by 2 * RADIUS; both at least 0, and 0 where the images are
        equal.

    Raises:
        UserError: an image is smaller than the window.
    """
    if min(prediction.shape[1:]) < WINDOW:
        size = " x ".join(map(str, prediction.shape[1:]))
        raise UserError(
            f"SSIM needs at least {WINDOW} voxels along each axis, the image has {size}: use larger images"
        )
    pair = torch.cat((prediction - target, prediction + target))
    means, squares = smooth(torch.cat((pair, pair.square()))).chunk(2)
    squared_means = means.square()
    variances = (squares - squared_means).clamp(min=0)
    mean_e, mean_s = squared_means.chunk(2)
    variance_e, variance_s = variances.chunk(2)
    luminance = mean_e / (0.5 * (mean_e + mean_s) + C1)
    structure = variance_e / (0.5 * (variance_e + variance_s) + C2)
    return luminance, structure


def pad(images: Tensor) -> Tensor:
    """Mirrors RADIUS voxels beyond each end of all axes but the first, so that the window fits everywhere."""
    for axis, size in enumerate(images.shape[1:], start=1):
        index = symmetric(-RADIUS, size + RADIUS, size, images.device)
        images = images.index_select(axis, index)
    return images
