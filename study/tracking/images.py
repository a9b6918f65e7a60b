"""Sample images of a judged trial, as one picture for MLflow."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

MAX_ROWS = 8


def montage(slices: Path) -> npt.NDArray[np.uint8]:
    """One row a test scan: source, target, prediction, and the absolute error (x 4) in the mask.

    Args:
        slices: `checkpoints/<trial>/slices.safetensors`; `reference.safetensors` lies one folder above.

    Returns:
        Grey picture (rows * H, 4 * W); each row is scaled by the brightest 0.1 % of its source and target.
    """
    reference = load_file(slices.parent.parent / "reference.safetensors")
    predictions = load_file(slices)["prediction"].astype(np.float32)
    rows = []
    for i, prediction in enumerate(predictions[:MAX_ROWS]):
        source, target, mask = (reference[name][i] for name in ("source", "target", "mask"))
        white = max(float(np.quantile(np.stack([source, target]), 0.999)), 1e-6)
        error = 4 * np.abs(prediction - target) * mask
        rows.append(np.concatenate([source, target, prediction, error], axis=1) / white)
    return np.round(255 * np.clip(np.concatenate(rows), 0, 1)).astype(np.uint8)
