"""A training's own checkpoint, the one before it kept in case the newest is damaged; and files of a kept model."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from trainables.errors import UserError
from trainables.files import replacing, write_text

NEWEST, BEFORE = "state.pt", "state.before.pt"
MODEL, CARD = "model.safetensors", "model.json"
"""A kept model's weights, and what they are good for."""


def save_state(directory: Path, state: Mapping[str, Any]) -> None:
    """Writes `state` (tensors, numbers, strings, nested) to `directory`. Raises OSError when the disk does."""
    directory.mkdir(parents=True, exist_ok=True)
    newest = directory / NEWEST
    with replacing(newest) as beside:
        try:
            with beside.open("wb") as file:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
        except RuntimeError as error:  # so torch's zip writer reports a full disk
            raise OSError(f"{newest}: {error}") from error
        if newest.exists():
            os.replace(newest, directory / BEFORE)


def remove_states(directory: Path) -> None:
    """Removes the checkpoints, and what processes that were killed left of them."""
    for name in (NEWEST, BEFORE):
        for path in directory.glob(f"*{name}*"):
            path.unlink(missing_ok=True)


def load_state(directory: Path) -> dict[str, Any] | None:
    """The newest readable state, None if there is none. Nothing but tensors and plain values is ever unpickled."""
    for name in (NEWEST, BEFORE):
        try:
            return torch.load(directory / name, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            continue
        except Exception:  # a damaged archive raises whatever its damage leads to
            continue
    return None


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Replaces a safetensors file."""
    with replacing(path) as beside:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, beside, metadata)


def load_tensors(path: Path, digest: str) -> dict[str, Tensor]:
    """Reads safetensors whose SHA-256 is known. Raises UserError if the file is missing or damaged."""
    try:
        content = path.read_bytes()
        tensors = load(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); restore it, or train again") from None
    except SafetensorError as error:
        raise UserError(f"{path}: damaged ({error}); restore it, or train again") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError(f"{path}: damaged or changed (its SHA-256 is another); restore it, or train again")
    return tensors


def save_json(path: Path, value: Any) -> None:
    """Replaces a JSON file."""
    write_text(path, json.dumps(value))
