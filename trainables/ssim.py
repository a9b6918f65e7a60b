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
LANES = 16
"""float32 numbers that a CPU with AVX-512 filters at once: slices of a map are taken in multiples of it."""


def smooth(images: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """Gaussian filter, where the window fits.

    Args:
        images: (N, H, W) or (N, D, H, W).
        axes: axes to filter, from 1; None is all but the first.

    Returns:
        The same with each of the axes shortened by 2 * RADIUS.
    """
    kernel = _kernel(images)
    # The last axis first: its length then is the number of channels for the others.
    for axis in sorted(range(1, images.dim()) if axes is None else axes, reverse=True):
        images = _smooth_axis(images, axis, kernel)
    return images


def _kernel(like: Tensor) -> Tensor:
    offset = torch.arange(-RADIUS, RADIUS + 1, dtype=like.dtype, device=like.device)
    return torch.softmax(-0.5 * (offset / SIGMA).square(), 0)


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
    """Mirrors RADIUS voxels beyond both ends of the axes (b a | a b c | c b), as scikit-image does.

    Raises:
        UserError: one of the axes has less than RADIUS voxels.
    """
    for axis in range(1, images.dim()) if axes is None else axes:
        _refuse_below(RADIUS, images.shape[axis : axis + 1])
        last = images.shape[axis] - RADIUS
        before, after = (images.narrow(axis, start, RADIUS).flip(axis) for start in (0, last))
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
    _refuse_below(WINDOW, prediction.shape[1:])
    pair = torch.cat((prediction - target, prediction + target))
    return _errors(smooth(torch.cat((pair, pair.square()))))


def combined(luminance: Tensor, structure: Tensor) -> Tensor:
    """1 - SSIM of its two errors: 1 - (1 - luminance) (1 - structure)."""
    return torch.addcmul(luminance + structure, luminance, structure, value=-1)


def error_map(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - SSIM at every voxel of a volume, without gradient: scikit-image's full map.

    Works through the depth in chunks that stay in a CPU's cache.

    Args:
        prediction, target: (D, H, W), data range 1, at least RADIUS voxels along each axis.

    Returns:
        (D, H, W).

    Raises:
        UserError: an axis has less than RADIUS voxels.
    """
    _refuse_below(RADIUS, prediction.shape)
    depth, height, width = prediction.shape
    step = max(1, CHUNK // (height * width * LANES)) * LANES
    result = torch.empty_like(prediction)
    # The filter along the depth as a matrix (D, D), with the mirrored ends folded in.
    ends = mirror(torch.eye(depth, dtype=prediction.dtype, device=prediction.device)[None], (1,))[0]
    filter_depth = ends.unfold(0, WINDOW, 1) @ _kernel(prediction)
    with torch.no_grad():
        for start in range(0, depth, step):
            chunk = slice(start, start + step)
            near = slice(max(0, start - RADIUS), start + step + RADIUS)
            powers = _mirrored_powers(prediction[near], target[near])
            # The product leaves the depth as the last axis: for the other two, slices are channels that lie side by
            # side, which is where depthwise convolutions are fast.
            planes = powers.flatten(2).transpose(1, 2) @ filter_depth[chunk, near].T
            planes = smooth(planes.unflatten(1, powers.shape[2:]), (1, 2))
            result[chunk] = _combined_in_place(planes).permute(2, 0, 1)
    return result


def _mirrored_powers(prediction: Tensor, target: Tensor) -> Tensor:
    """e, s, e^2 and s^2 of slices (D, H, W) mirrored as by `mirror`: (4, D, H + 2 RADIUS, W + 2 RADIUS)."""
    depth, height, width = prediction.shape
    powers = prediction.new_empty(4, depth, height + 2 * RADIUS, width + 2 * RADIUS)
    # Written in place: each copy saved is a tenth of the time.
    pair = powers[:2]
    inner = pair[..., RADIUS:-RADIUS, RADIUS:-RADIUS]
    torch.sub(prediction, target, out=inner[0])
    torch.add(prediction, target, out=inner[1])
    for axis, size in ((3, width), (2, height)):
        for inside, margin in ((RADIUS, 0), (size, size + RADIUS)):
            pair.narrow(axis, margin, RADIUS).copy_(pair.narrow(axis, inside, RADIUS).flip(axis))
    torch.square(pair, out=powers[2:])
    return powers


def _errors(smoothed: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and structure error from the windowed means of e, s, e^2 and s^2, along the first axis."""
    means, squares = smoothed.chunk(2)
    squared_means = means.square()
    variances = (squares - squared_means).clamp_(min=0)
    return _share(squared_means, C1), _share(variances, C2)


def _share(parts: Tensor, constant: float) -> Tensor:
    """e / ((e + s) / 2 + constant), of e and s along the first axis."""
    e, s = parts.chunk(2)
    return e / torch.add(e, s).mul_(0.5).add_(constant)


def _combined_in_place(smoothed: Tensor) -> Tensor:
    """1 - SSIM of four windowed means, in their memory: `combined(*_errors(smoothed))` without new blocks."""
    means, squares = smoothed.chunk(2)
    squares.sub_(means.square_()).clamp_(min=0)
    luminance, structure = (
        e.div_(s.add_(e).mul_(0.5).add_(constant)) for (e, s), constant in ((means, C1), (squares, C2))
    )
    return torch.add(luminance, structure, out=means[1]).addcmul_(luminance, structure, value=-1)


def _refuse_below(least: int, shape: Sequence[int]) -> None:
    if min(shape) < least:
        size = " x ".join(map(str, shape))
        raise UserError(f"SSIM needs at least {least} voxels along each axis, not {size}: use larger images")
