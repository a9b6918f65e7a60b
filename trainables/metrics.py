"""PSNR, SSIM and RMSE of a synthesised volume: in mask, in lesion, and over the whole volume. The data range
is 1."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainables import ssim
from trainables.errors import UserError

SLAB = 24
"""Slices of an SSIM map computed at once: few enough to stay in a CPU's cache."""


@dataclass(frozen=True)
class Metric:
    """What is measured and which way is better."""

    name: str
    goal: Literal["max", "min"]


METRICS = {
    metric.name: metric for metric in (Metric("psnr", "max"), Metric("ssim", "max"), Metric("rmse", "min"))
}


@torch.no_grad()
def score_volume(
    prediction: Tensor, target: Tensor, mask: Tensor, lesion: Tensor | None = None, *, whole: bool = True
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

    Returns:
        {"mask": {"psnr", "ssim", "rmse"}, "volume": ... if whole, "lesion": ... if it has a voxel}; PSNR in
        dB.

    Raises:
        UserError: the shapes differ, or the mask is empty.
    """
    regions = {"mask": mask} if lesion is None else {"mask": mask, "lesion": lesion}
    if prediction.dim() != 3 or any(
        volume.shape != prediction.shape for volume in (target, *regions.values())
    ):
        shapes = ", ".join(str(tuple(volume.shape)) for volume in (prediction, target, *regions.values()))
        raise UserError(
            f"a prediction and its target, mask and lesion must be (D, H, W) and of one shape, not {shapes}"
        )
    shares = torch.stack([region.bool() for region in regions.values()])
    box = tuple(slice(0, size) for size in prediction.shape) if whole else _bounding_box(shares.any(0))
    if whole:
        regions["volume"] = mask
        shares = torch.cat((shares, torch.ones_like(shares[:1])))
    square = (prediction[box] - target[box]).square()
    sums = torch.stack([
        torch.stack([share.sum(dtype=torch.float64) for share in shares]),
        torch.stack([(square * share[box]).sum(dtype=torch.float64) for share in shares]),
        *_ssim_error_sums(prediction, target, shares, box, whole),
    ]).tolist()  # fmt: skip
    if not sums[0][0]:
        raise UserError("the mask of a volume is empty: there is nothing to score")
    return {
        name: _scores(square_error / count, error / error_count)
        for name, count, square_error, error, error_count in zip(regions, *sums, strict=True)
        if count
    }


def _scores(mean_square: float, ssim_error: float) -> dict[str, float]:
    psnr = math.inf if mean_square == 0 else -10 * math.log10(mean_square)
    return {"psnr": psnr, "ssim": 1 - ssim_error, "rmse": math.sqrt(mean_square)}


def _ssim_error_sums(
    prediction: Tensor, target: Tensor, shares: Tensor, box: tuple[slice, ...], whole: bool
) -> tuple[Tensor, Tensor]:
    """Sum of 1 - SSIM over each region, and the number of its voxels, slab by slab."""
    inner = shares.clone()
    if whole and min(prediction.shape) > 2 * ssim.RADIUS:
        # scikit-image leaves out the border of the whole volume, where the window does not fit.
        for axis, size in enumerate(prediction.shape):
            inner[-1].narrow(axis, 0, ssim.RADIUS).zero_()
            inner[-1].narrow(axis, size - ssim.RADIUS, ssim.RADIUS).zero_()
    sums = torch.zeros(len(shares), dtype=torch.float64, device=prediction.device)
    depth, *plane = box
    rows, columns = (
        ssim.symmetric(side.start - ssim.RADIUS, side.stop + ssim.RADIUS, size, prediction.device)
        for side, size in zip(plane, prediction.shape[1:], strict=True)
    )
    for start in range(depth.start, depth.stop, SLAB):
        stop = min(start + SLAB, depth.stop)
        slices = ssim.symmetric(
            start - ssim.RADIUS, stop + ssim.RADIUS, prediction.shape[0], prediction.device
        )
        slabs = [
            volume.index_select(0, slices).index_select(1, rows).index_select(2, columns)[None]
            for volume in (prediction, target)
        ]
        luminance, structure = ssim.errors(*slabs)
        error = (luminance + structure - luminance * structure)[0]
        for region, share in enumerate(inner[:, start:stop, plane[0], plane[1]]):
            sums[region] += (error * share).sum(dtype=torch.float64)
    return sums, inner.sum((1, 2, 3), dtype=torch.float64)


def _bounding_box(region: Tensor) -> tuple[slice, ...]:
    """Smallest box (of at least one voxel) that holds all voxels of a region."""
    box = []
    for axis in range(region.dim()):
        others = [other for other in range(region.dim()) if other != axis]
        inside = region.any(dim=others).nonzero().flatten().tolist() or [0]
        box.append(slice(inside[0], inside[-1] + 1))
    return tuple(box)
