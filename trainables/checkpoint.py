"""A training's own checkpoint: written beside and renamed, the one before kept in case the newest is damaged."""

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

NEWEST, BEFORE = "state.pt", "state.before.pt"
MODEL, CARD = "model.safetensors", "model.json"
"""A kept model's weights, and what they are good for."""


def save_state(directory: Path, state: Mapping[str, Any]) -> None:
    """Writes `state` (tensors, numbers, strings, nested) to `directory`. Raises OSError when the disk does."""
    directory.mkdir(parents=True, exist_ok=True)
    beside = directory / f"{NEWEST}.tmp"
    try:
        with beside.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        # torch reports a full disk as a RuntimeError of its zip writer.
        raise error if isinstance(error, OSError) else OSError(f"{beside}: {error}") from error
    newest = directory / NEWEST
    if newest.exists():
        os.replace(newest, directory / BEFORE)
    os.replace(beside, newest)


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
    """Writes safetensors beside and renames."""
    beside = path.with_suffix(".tmp")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, beside, metadata)
    os.replace(beside, path)


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
    """Writes JSON beside and renames."""
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(value), encoding="utf-8")
    os.replace(beside, path)
