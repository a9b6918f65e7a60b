"""How fast a volume is scored beside scikit-image: `python tests/benchmarks/bench_scoring.py [--rounds 9]`.

One thread. Both score the same volumes in turn, round after round; medians of CPU time and of the rounds' ratios.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from skimage.metrics import structural_similarity

from trainables.metrics import score_volume

SHAPES = {"2 mm": (80, 96, 112), "1 mm": (160, 192, 160)}


def scikit_image(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray) -> tuple[float, ...]:
    """PSNR, SSIM and RMSE in the mask, and SSIM of the whole volume."""
    whole, full = structural_similarity(
        prediction, target, data_range=1, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    mean_square = np.mean((prediction - target)[mask] ** 2, dtype=np.float64)
    return -10 * np.log10(mean_square), float(full[mask].mean()), float(np.sqrt(mean_square)), whole


def main() -> None:
    """Volumes of two resolutions, in float32 and in the float64 that nibabel reads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    num_rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    # A training process has allocated such blocks before, and keeps what it frees.
    del [torch.empty(7_500_000)][0]
    print("| volume | ours, ms | mask only, ms | scikit-image float32 | float64 | ratio float32 | float64 |")
    print("|---|---|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        rng = np.random.default_rng(0)
        target = rng.random(shape, dtype=np.float32)
        prediction = (target + 0.1 * rng.standard_normal(shape)).astype(np.float32)
        mask = np.zeros(shape, bool)
        mask[tuple(slice(size // 8, -size // 8) for size in shape)] = True
        tensors = [torch.from_numpy(array) for array in (prediction, target, mask)]
        doubles = (prediction.astype(np.float64), target.astype(np.float64), mask)
        candidates = (
            lambda tensors=tensors: score_volume(*tensors),
            lambda tensors=tensors: score_volume(*tensors, whole=False),
            lambda arrays=(prediction, target, mask): scikit_image(*arrays),
            lambda arrays=doubles: scikit_image(*arrays),
        )
        rounds = []
        for _ in range(num_rounds):
            seconds = []
            for candidate in candidates:
                candidate()  # the first call finds the other's data in the cache
                start = time.process_time()
                candidate()
                seconds.append(time.process_time() - start)
            rounds.append(seconds)
        medians = [1e3 * statistics.median(times) for times in zip(*rounds, strict=True)]
        ratios = [statistics.median(seconds[i] / seconds[0] for seconds in rounds) for i in (2, 3)]
        print(f"| {name} | " + " | ".join([*(f"{m:.0f}" for m in medians), *(f"{r:.1f}" for r in ratios)]) + " |")


if __name__ == "__main__":
    main()
