"""A cohort's slices as tensors on the device of a training."""

import numpy as np
import torch
from torch import Tensor

from trainables.cohort import PreparedCohort
from trainables.hardware import to_device

SHARE = 0.1
"""Of a GPU's memory: a cohort that takes no more is laid there whole, and a batch is fetched in microseconds. Not of
what is free: whether it lies there shows in the cost, and must not depend on what else runs."""
CHUNK = 256
"""Slices laid there at a time."""


class Slices:
    """Batches of a cohort by row.

    Args:
        cohort: its arrays stay where they are mapped, but for a GPU that has room for them.
        device: where the batches are wanted.
    """

    def __init__(self, cohort: PreparedCohort, device: torch.device | str = "cpu") -> None:
        self.cohort, self._device = cohort, torch.device(device)
        self._arrays = {"source": cohort.source, "target": cohort.target, "mask": cohort.mask}
        if cohort.lesion is not None:
            self._arrays["lesion"] = cohort.lesion
        self._resident: dict[str, Tensor] = {}
        if self._device.type == "cuda":
            num_bytes = sum(array.nbytes for array in self._arrays.values())
            if num_bytes <= SHARE * torch.cuda.mem_get_info(self._device)[1]:
                self._resident = {name: self._laid_down(array) for name, array in self._arrays.items()}

    def inputs(self, rows: np.ndarray) -> Tensor:
        """Source slices with their neighbours as channels, float32 (len(rows), 1 + 2 * neighbours, H, W)."""
        return self._take("source", self.cohort.with_neighbours(rows))

    def target(self, rows: np.ndarray) -> Tensor:
        """float32 (len(rows), H, W)."""
        return self._take("target", rows)

    def mask(self, rows: np.ndarray) -> Tensor:
        """bool (len(rows), H, W)."""
        return self._take("mask", rows)

    def lesion(self, rows: np.ndarray) -> Tensor | None:
        """bool (len(rows), H, W); None where no subject has a lesion mask."""
        return self._take("lesion", rows) if "lesion" in self._arrays else None

    def _take(self, name: str, rows: np.ndarray) -> Tensor:
        if name in self._resident:
            return self._resident[name][to_device(rows, self._device)]
        return to_device(self._arrays[name][rows], self._device)  # indexing copies: torch wants memory it may write

    def _laid_down(self, array: np.ndarray) -> Tensor:
        parts = (array[start : start + CHUNK].copy() for start in range(0, len(array), CHUNK))
        whole = torch.empty(array.shape, dtype=torch.from_numpy(array[:0].copy()).dtype, device=self._device)
        for target, part in zip(whole.split(CHUNK), parts, strict=True):
            target.copy_(to_device(part, self._device))
        return whole
