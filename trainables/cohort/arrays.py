"""Writes a cohort's arrays into a folder, whole or not at all, one volume in memory at a time and a thread."""

import json
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainables.cohort.config import CohortConfig
from trainables.cohort.geometry import Box, Geometry, as_slices, bounding_box, common_size
from trainables.cohort.likeness import sketch
from trainables.cohort.nifti import load_grid
from trainables.cohort.pairs import align_target, find_lesion, find_mask, load_source, load_target
from trainables.cohort.problems import Progress, gather
from trainables.cohort.subjects import Subject
from trainables.cohort.traits import Traits
from trainables.errors import UserError

RECORDS = "prepared.json"
_STALE_SECONDS = 86_400


def write_arrays(
    subjects: Sequence[Subject], config: CohortConfig, folder: Path, root: Path, progress: Progress | None = None
) -> None:
    """Fills `folder` with source.npy, target.npy, mask.npy, maybe lesion.npy, and a record of each subject.

    They are written beside it and moved there in one step; an outdated folder goes.

    Raises:
        UserError: a subject cannot be used, or the folder cannot be written.
    """
    workplace = folder.parent / f".preparing-{uuid.uuid4().hex}"
    outdated = workplace.with_name(f"{workplace.name}-outdated")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        workplace.mkdir()
        _fill(subjects, config, workplace, root, progress)
        if is_outdated(folder):
            os.replace(folder, outdated)
        try:
            os.replace(workplace, folder)
        except OSError:
            # Another process may have been faster: its folder holds the same, and is never replaced.
            if not folder.is_dir():
                raise
    except OSError as error:
        raise UserError(
            f"{folder.parent}: the cache cannot be written ({error.strerror}); make room, or choose another folder"
        ) from error
    finally:
        for left in (workplace, outdated):
            shutil.rmtree(left, ignore_errors=True)


def is_outdated(folder: Path) -> bool:
    """Whether a version wrote it that measured no traits: its subjects were never set against each other."""
    try:
        records = json.loads((folder / RECORDS).read_text())
        return any("traits" not in record for record in records)
    except (OSError, ValueError, TypeError):
        return False  # absent, or damaged: who reads it says so


def _fill(
    subjects: Sequence[Subject], config: CohortConfig, folder: Path, root: Path, progress: Progress | None
) -> None:
    boxes = gather(partial(_box, config=config), subjects, root)
    size = common_size(boxes)
    edges = np.cumsum([0, *(stop - start for (start, stop), *_ in boxes)]).tolist()
    shape = (edges[-1], *size)
    dtypes = {"source": np.float32, "target": np.float32, "mask": np.bool_}
    if any(subject.lesion for subject in subjects):
        dtypes["lesion"] = np.bool_
    arrays = {name: _allocate(folder / f"{name}.npy", shape, dtype) for name, dtype in dtypes.items()}
    places = dict(zip(subjects, zip(boxes, edges[:-1], edges[1:], strict=True), strict=True))

    def write(subject: Subject) -> dict[str, Any]:
        box, start, stop = places[subject]
        return _write(subject, config, box, size, {name: array[start:stop] for name, array in arrays.items()})

    records = gather(write, subjects, root, progress)
    for array in arrays.values():
        array.flush()
    (folder / RECORDS).write_text(json.dumps(records))


def _box(subject: Subject, config: CohortConfig) -> Box:
    # Where a mask is given, the source's header is enough for now.
    mask = find_mask(subject, load_grid(subject.source), config)
    return bounding_box(as_slices(mask, config.axis))


def _allocate(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.memmap:
    """A new array on disk, its space taken at once: a disk that fills up under a mapped file kills the process."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("rb+") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _write(
    subject: Subject, config: CohortConfig, box: Box, size: tuple[int, int], part: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Fills one subject's rows, one volume after the other."""
    source, mask, low, high = load_source(subject, config)
    grid, notes = source.grid, [f"source: {note}" for note in source.notes]
    geometry = Geometry.around(box, size, grid, config.axis, low, high)
    geometry.cut(mask, out=part["mask"])
    geometry.slices(source.data, out=part["source"])
    source_sketch, source_inside = sketch(source.data), source.data[mask]
    del source  # before the next is read
    target = load_target(subject, grid, mask, config)
    notes += [f"target: {note}" for note in target.notes]
    aligned = align_target(target, grid, mask, config)
    geometry.slices(aligned, out=part["target"])
    target_sketch, target_inside = sketch(target.data), aligned[mask]
    del target, aligned
    traits = Traits.of((source_sketch, target_sketch), source_inside, target_inside)
    lesion = find_lesion(subject, grid, config)
    if lesion is not None:
        geometry.cut(lesion, out=part["lesion"])
    return {
        "geometry": asdict(geometry),
        "notes": notes,
        "mask": "foreground" if subject.mask is None else "given",
        "traits": asdict(traits),
    }


def _sweep(cache: Path) -> None:
    """Removes what processes killed more than a day ago left behind."""
    for left in cache.glob(".preparing-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
