"""PSNR, SSIM and RMSE of a synthesised volume: in mask, in lesion, and over the whole volume. The data range
is 1."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from trainables import ssim
from trainables.errors import UserError
from trainables.extensions import find
from trainables.quantities import GOALS, Goal


@dataclass(frozen=True)
class Metric:
    """What is measured and which way is better."""

    name: str
    goal: Goal | Literal["max", "min"]
    """`max` or `min`."""
    score: Callable[[Tensor, Tensor, Tensor], float | Tensor] | None = None
    """(prediction, target, region), each (D, H, W), the region bool: one number. None for those of `METRICS`, which
    share their work."""


METRICS = {name: Metric(name, goal) for name, goal in GOALS.items()}


def find_metric(name: str) -> Metric:
    """The metric of that name: one of `METRICS` or from elsewhere, see `trainables.extensions`."""
    metric = find("metrics", name, METRICS)
    if not isinstance(metric, Metric):
        raise UserError(f"metric {name!r} must be a trainables.metrics.Metric, not {type(metric).__name__}")
    try:
        goal = Goal(metric.goal)
    except ValueError:
        raise UserError(f"metric {name!r} needs the goal 'max' or 'min', not {metric.goal!r}") from None
    return replace(metric, name=name, goal=goal)


@torch.no_grad()
def score_volume(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor,
    lesion: Tensor | None = None,
    *,
    whole: bool = True,
    extra: Sequence[Metric] = (),
) -> dict[str, dict[str, float]]:
    """Scores one subject's volume.

    SSIM is scikit-image's with `gaussian_weights=True, use_sample_covariance=False, data_range=1`: its full
    map averaged over `mask` and `lesion`; for the whole volume its own mean, which leaves out a border of 5
    voxels.

    Args:
        prediction, target: (D, H, W), normalised so that the data range is 1.
        mask: (D, H, W) bool, the voxels that count.
        lesion: the same for the lesion, or None.
        whole: score the whole volume too. Without it only the mask's surroundings are filtered.
        extra: metrics with a `score` of their own, measured in the same regions.

    Returns:
        {"mask": {"psnr", "ssim", "rmse", and the extra ones}, "volume": ... if whole, "lesion": ... if it has a
        voxel}; PSNR in dB.

    Raises:
        UserError: the shapes differ, or the mask is empty.
    """
    regions = {"mask": mask} if lesion is None else {"mask": mask, "lesion": lesion}
    if prediction.dim() != 3 or any(volume.shape != prediction.shape for volume in (target, *regions.values())):
        shapes = ", ".join(str(tuple(volume.shape)) for volume in (prediction, target, *regions.values()))
        raise UserError(
            f"a prediction and its target, mask and lesion must be (D, H, W) and of one shape, not {shapes}"
        )
    images = prediction.float(), target.float()
    box = (slice(None),) * 3 if whole else _bounding_box(torch.stack([r.bool() for r in regions.values()]).any(0))
    prediction, target = (image[box] for image in images)
    square = (prediction - target).square_()
    error = ssim.error_map(prediction, target)
    sums = [_sums(square, error, region[box].float()) for region in regions.values()]
    if whole:
        # scikit-image's mean leaves out the border, where the window does not fit.
        inner = (slice(ssim.RADIUS, -ssim.RADIUS),) * 3 if min(error.shape) > 2 * ssim.RADIUS else (...,)
        regions["volume"] = torch.ones_like(mask)
        sums.append(torch.stack((square.new_ones(()), square.mean(), error[inner].mean())).double())
    scores = {
        name: _scores(square_error / count, ssim_error / count)
        for name, (count, square_error, ssim_error) in zip(regions, torch.stack(sums).tolist(), strict=True)
        if count
    }
    if "mask" not in scores:
        raise UserError("the mask of a volume is empty: there is nothing to score")
    for metric in extra:
        assert metric.score is not None
        for name in scores:
            scores[name][metric.name] = float(metric.score(*images, regions[name].bool()))
    return scores


def _sums(square: Tensor, error: Tensor, share: Tensor) -> Tensor:
    """Number of a region's voxels, sum of their squared errors and of their SSIM errors: (3,) float64."""
    # Each slice is summed in float32, which is fast, and the slices in float64.
    slices = [values.sum((1, 2)) for values in (share, square * share, error * share)]
    return torch.stack(slices).sum(1, dtype=torch.float64)


def _scores(mean_square: float, ssim_error: float) -> dict[str, float]:
    psnr = math.inf if mean_square == 0 else -10 * math.log10(mean_square)
    return {"psnr": psnr, "ssim": 1 - ssim_error, "rmse": math.sqrt(mean_square)}


def _bounding_box(region: Tensor) -> tuple[slice, ...]:
    """Smallest box that holds a region's voxels and the SSIM windows around them, inside the volume."""
    box = []
    for axis in range(region.dim()):
        others = [other for other in range(region.dim()) if other != axis]
        # A maximum of bytes: `any` of booleans is 40 times slower on a CPU.
        inside = region.view(torch.uint8).amax(others).nonzero().flatten().tolist() or [0]
        box.append(slice(max(0, inside[0] - ssim.RADIUS), inside[-1] + 1 + ssim.RADIUS))
    return tuple(box)
