"""Structural similarity in two and three dimensions: Gaussian windows, separable and fast on a CPU.

Everything is computed from e = x - y and s = x + y. With <.> the windowed mean and v(.) windowed variance,
<x>^2 + <y>^2 = (<s>^2 + <e>^2) / 2 and v(x) + v(y) = (v(s) + v(e)) / 2, and the factors of SSIM become

    luminance             l  = 1 - <e>^2 / (<x>^2 + <y>^2 + C1)
    contrast x structure  cs = 1 - v(e)  / (v(x) + v(y) + C2)

Four filtered images instead of five; and 1 - l and 1 - cs are exactly 0 where x = y, without cancellation.

Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE TIP 2004, eq. 13. Constants and window as scikit-image with `gaussian_weights=True,
use_sample_covariance=False`.
"""

from collections.abc import Sequence

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
CHUNK = 2**17
"""Voxels of a map computed at once: few enough to stay in a CPU's cache."""


def smooth(images: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """Gaussian filter, where the window fits.

    Args:
        images: (N, H, W) or (N, D, H, W).
        axes: axes to filter, from 1; None is all but the first.

    Returns:
        The same with each of the axes shortened by 2 * RADIUS.
    """
    offset = torch.arange(-RADIUS, RADIUS + 1, dtype=images.dtype, device=images.device)
    kernel = torch.softmax(-0.5 * (offset / SIGMA).square(), 0)
    for axis in range(1, images.dim()) if axes is None else axes:
        images = _smooth_axis(images, axis, kernel)
    return images


def _smooth_axis(images: Tensor, axis: int, kernel: Tensor) -> Tensor:
    # A depthwise convolution is by far the fastest on a CPU: over the last axis with all rows' planes as
    # channels, over another with the last axis as channels, which is how such images lie in memory.
    if axis == images.dim() - 1:
        planes = images.flatten(0, -3)
        n = len(planes)
        planes = functional.conv2d(planes[None], kernel.expand(n, 1, 1, WINDOW), groups=n)
        return planes.view(*images.shape[:-1], -1)
    n = images.shape[-1]
    grid = images.reshape(-1, *images.shape[-3:]).permute(0, 3, 1, 2)
    shape = (WINDOW, 1) if axis == images.dim() - 3 else (1, WINDOW)
    grid = functional.conv2d(grid, kernel.expand(n, 1, WINDOW).view(n, 1, *shape), groups=n)
    return grid.permute(0, 2, 3, 1).reshape(*images.shape[:-3], *grid.shape[2:], n)


def mirror(images: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """Mirrors RADIUS voxels beyond both ends of the axes (b a | a b c | c b), as scikit-image does."""
    for axis in range(1, images.dim()) if axes is None else axes:
        size = images.shape[axis]
        if size >= RADIUS:
            before, after = (images.narrow(axis, start, RADIUS).flip(axis) for start in (0, size - RADIUS))
        else:
            index = torch.arange(-RADIUS, size + RADIUS, device=images.device).remainder(2 * size)
            index = torch.minimum(index, 2 * size - 1 - index)
            before, after = (images.index_select(axis, part) for part in (index[:RADIUS], index[-RADIUS:]))
        images = torch.cat((before, images, after), axis)
    return images


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
        raise UserError(f"SSIM needs at least {WINDOW} voxels along each axis, the image has {size}: use larger images")
    means, squares = smooth(_stacked(prediction, target)).chunk(2)
    return _factors(means, squares)


def error_map(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - SSIM at every voxel of a volume, without gradient: scikit-image's full map, 5 to 10 times as fast.

    Args:
        prediction, target: (D, H, W), data range 1.

    Returns:
        (D, H, W).
    """
    with torch.no_grad():
        depth, height, width = prediction.shape
        smoothed = prediction.new_empty(4, depth, height, width)
        step = max(1, CHUNK // (height * width))
        for start in range(0, depth, step):
            chunk = slice(start, start + step)
            stacked = _stacked(*(mirror(volume[None, chunk], (2, 3)) for volume in (prediction, target)))
            smoothed[:, chunk] = smooth(stacked, (2, 3))
        result = torch.empty_like(prediction)
        step = max(1, CHUNK // (depth * width))
        for start in range(0, height, step):
            chunk = slice(start, start + step)
            means, squares = smooth(mirror(smoothed[:, :, chunk], (1,)), (1,)).chunk(2)
            result[:, chunk] = combined(*_factors(means, squares))[0]
        return result


def combined(luminance: Tensor, structure: Tensor) -> Tensor:
    """1 - SSIM of its two errors: 1 - (1 - luminance) (1 - structure)."""
    return luminance + structure - luminance * structure


def _stacked(prediction: Tensor, target: Tensor) -> Tensor:
    """Difference, sum and their squares, one after the other along the first axis."""
    pair = torch.cat((prediction - target, prediction + target))
    return torch.cat((pair, pair.square()))


def _factors(means: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and structure error from the windowed means of (e, s) and of their squares."""
    squared_means = means.square()
    variances = (squares - squared_means).clamp(min=0)
    mean_e, mean_s = squared_means.chunk(2)
    variance_e, variance_s = variances.chunk(2)
    luminance = mean_e / (0.5 * (mean_e + mean_s) + C1)
    structure = variance_e / (0.5 * (variance_e + variance_s) + C2)
    return luminance, structure
