"""A kept model applied to new volumes: safetensors and a JSON card, no Ray, no pickle."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from trainables.checkpoint import CARD, MODEL, load_tensors
from trainables.cohort import CohortConfig, PreparedVolume, prepare_volume
from trainables.cohort.config import Axis
from trainables.cohort.domain import Domain
from trainables.config import NetworkConfig, Precision
from trainables.errors import UserError
from trainables.frozen import FrozenModel
from trainables.hardware import to_device
from trainables.networks import make_network

Progress = Callable[[int, int], None]
"""Called with (slices done, slices in all)."""


class Preparation(FrozenModel, extra="ignore"):
    """How the cohort was prepared, as far as a new volume must be prepared alike."""

    axis: Axis
    neighbours: int
    percentiles: tuple[float, float]
    resample: bool
    shape: tuple[int, int, int]
    """(S, H, W) of the cohort's arrays."""
    num_masks: dict[str, int]
    """How many masks were `given` and how many are the image's own `foreground`."""
    domain: Domain

    @property
    def window(self) -> tuple[int, int]:
        """(H, W) of the slices."""
        return self.shape[1:]

    @property
    def cohort_config(self) -> CohortConfig:
        """The same as the cohort's configuration."""
        return CohortConfig(**self.model_dump(include={"axis", "neighbours", "percentiles", "resample"}))


class ModelCard(FrozenModel, extra="ignore"):
    """What `model.json` says of a kept model."""

    network: NetworkConfig
    in_channels: int = Field(ge=1)
    precision: Precision
    batch_size: int = Field(ge=1)
    """Slices at a time, as in the test."""
    preparation: Preparation
    sha256: str
    """Of `model.safetensors`."""


class Synthesiser:
    """A kept model, ready for new volumes.

    Args:
        card: how it was made.
        network: (B, C, H, W) to (B, 1, H, W), normalised units.
        device: where it computes.
    """

    def __init__(self, card: ModelCard, network: nn.Module, device: torch.device) -> None:
        self.card = card
        self._network, self._device = network.to(device).eval(), device

    @classmethod
    def load(cls, directory: Path, device: torch.device | str = "cpu") -> Self:
        """Reads `model.json` and `model.safetensors` of a trial's checkpoint folder.

        Raises:
            UserError: one of them is missing, damaged or of another program version.
        """
        card = _read_card(directory / CARD)
        path = directory / MODEL
        tensors = load_tensors(path, card.sha256)
        network = make_network(card.network, in_channels=card.in_channels, seed=0, device=device)
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise UserError(f"{path}: does not fit the network of {CARD} ({reason}); restore both") from None
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise UserError(f"{path}: holds weights that are not finite; restore the file")
        return cls(card, network, torch.device(device))

    def prepare(self, source: Path, mask: Path | None = None) -> PreparedVolume:
        """A new source as training would have seen it, normalised by its own percentiles.

        Raises:
            UserError: the image or its mask cannot be used.
        """
        preparation = self.card.preparation
        return prepare_volume(source, preparation.cohort_config, mask, window=preparation.window)

    def departures(self, volume: PreparedVolume, *, masked: bool) -> list[str]:
        """What of a volume is unlike everything trained on, a sentence each; `masked`: its mask was given."""
        preparation = self.card.preparation
        found = preparation.domain.departures(volume.source, volume.mask, volume.geometry)
        if not masked and not preparation.num_masks.get("foreground"):
            found.append("mask: none given, so its foreground is used; in training all were given")
        return found

    def synthesise(self, volume: PreparedVolume, progress: Progress | None = None) -> np.ndarray:
        """The synthesised slices, float32 (S, H, W), in normalised units: `write_volume` brings them back."""
        prediction = predict(
            self._network,
            lambda rows: to_device(volume.inputs(rows), self._device),
            np.arange(len(volume.source)),
            batch_size=self.card.batch_size,
            precision=self.card.precision,
            device=self._device,
            progress=progress,
        )
        return prediction.cpu().numpy()


def predict(
    network: nn.Module,
    inputs: Callable[[np.ndarray], Tensor],
    rows: np.ndarray,
    *,
    batch_size: int,
    precision: Precision,
    device: torch.device,
    progress: Progress | None = None,
) -> Tensor:
    """Slides a network in eval mode over slices.

    Args:
        network: (B, C, H, W) to (B, 1, H, W).
        inputs: gives rows their slices with neighbours, (B, C, H, W) on the device.
        rows: which slices.
        batch_size: how many at a time.
        precision: of the computation.
        device: where the network is.
        progress: told after every batch.

    Returns:
        (len(rows), H, W) float32.
    """
    parts = []
    with torch.inference_mode(), autocast(device, precision):
        for start in range(0, len(rows), batch_size):
            parts.append(network(inputs(rows[start : start + batch_size])).float())
            if progress:
                progress(min(start + batch_size, len(rows)), len(rows))
    return torch.cat(parts).squeeze(1)


def autocast(device: torch.device, precision: Precision, *, cached: bool = True) -> torch.autocast:
    """bf16 where it is asked for, or where `auto` finds a GPU that has it; else nothing. `cached`: weights are cast
    once for all passes inside."""
    bf16 = precision == "bf16" or (
        precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16, cache_enabled=cached)


def _read_card(path: Path) -> ModelCard:
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); restore it, it describes the model") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise UserError(
            f"{path}: cannot be used ({f'{where}: ' if where else ''}{problem['msg']}); restore it, or train again"
        ) from None
