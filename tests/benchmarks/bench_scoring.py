"""Scoring test subjects beside scikit-image, on one thread."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from skimage.metrics import structural_similarity

from tests.benchmarks.table import Row, milliseconds, race, ratio
from trainables.metrics import score_volume
from trainables.startup import ready_process

SHAPES = {"3 mm": (52, 72, 56), "2 mm": (80, 96, 112), "1 mm": (160, 192, 160)}
NUM_SUBJECTS = {"3 mm": 24, "2 mm": 24, "1 mm": 3}

Volumes = tuple[np.ndarray, np.ndarray, np.ndarray]


def scikit_image(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray) -> dict[str, dict[str, float]]:
    """The same scores as its documentation shows them."""
    mean, full = structural_similarity(
        prediction, target, data_range=1, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    error = (prediction - target) ** 2
    squares = {"mask": np.mean(error[mask], dtype=float), "volume": np.mean(error, dtype=float)}
    similarity = {"mask": np.mean(full[mask], dtype=float), "volume": mean}
    return {
        region: {
            "psnr": float(-10 * np.log10(squares[region])),
            "ssim": float(similarity[region]),
            "rmse": float(np.sqrt(squares[region])),
        }
        for region in squares
    }


def make_volumes(shape: tuple[int, ...], number: int) -> Iterator[Volumes]:
    """Predictions, targets and masks that leave out an eighth on each side."""
    rng = np.random.default_rng(0)
    mask = np.zeros(shape, bool)
    mask[tuple(slice(size // 8, -size // 8) for size in shape)] = True
    for _ in range(number):
        target = rng.random(shape, dtype=np.float32)
        yield (target + 0.1 * rng.standard_normal(shape)).astype(np.float32), target, mask


def largest_difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Over regions and metrics."""
    return max(abs(one[region][name] - value) for region, values in other.items() for name, value in values.items())


def rows(quick: bool) -> Iterator[Row]:
    """Three resolutions; the middle one is the virtual cohort's own."""
    ready_process(1)
    for resolution, shape in SHAPES.items():
        singles = list(make_volumes(shape, NUM_SUBJECTS[resolution] // (6 if quick else 1) or 1))
        tensors = [tuple(torch.from_numpy(array) for array in volumes) for volumes in singles]
        doubles = [(p.astype(np.float64), t.astype(np.float64), m) for p, t, m in singles]
        seconds = race(
            {
                "ours": lambda tensors=tensors: [score_volume(*volumes) for volumes in tensors],
                "float32": lambda arrays=singles: [scikit_image(*volumes) for volumes in arrays],
                "float64": lambda arrays=doubles: [scikit_image(*volumes) for volumes in arrays],
            },
            2 if quick else 5,
            num_warm=1,
        )
        each = {name: milliseconds(seconds, name) / len(singles) for name in seconds}
        for kind, goal in (("float32", 5.0 if resolution == "2 mm" else None), ("float64", None)):
            yield Row(
                what=f"scoring {len(singles)} subjects at {resolution}: scikit-image in {kind} / ours",
                value=ratio(seconds, kind, "ours"),
                at_least=goal,
                detail=f"{each[kind]:.1f} / {each['ours']:.1f} ms a subject",
                figures=each,
            )
    worst = max(largest_difference(score_volume(*map(torch.from_numpy, v)), scikit_image(*v)) for v in singles)
    yield Row(
        what="scoring: largest difference to scikit-image", value=worst, unit="", at_most=1e-4, detail="PSNR in dB"
    )
