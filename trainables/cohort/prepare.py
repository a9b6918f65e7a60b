"""A cohort made ready to learn from: slices of all subjects in memory-mapped arrays, cached by content.

One subject's volumes are in memory at a time and a thread; what is finished is on disk. The cache holds no
identifier. A folder appears in it whole or not at all, whoever else prepares the same cohort, and whenever
this process dies.
"""

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from trainables.cohort.config import CohortConfig
from trainables.cohort.digests import digest_files, find_copies
from trainables.cohort.geometry import Box, Geometry, as_slices, bounding_box, common_size
from trainables.cohort.layout import Cohort, Problem, Subject
from trainables.cohort.nifti import load_grid, load_volume
from trainables.cohort.pairs import align_target, find_lesion, find_mask, load_source
from trainables.cohort.splits import assign_splits
from trainables.errors import UserError

FORMAT = 1
"""Raised when the arrays would come out differently, so that older caches are not read."""
NUM_THREADS = 2
"""Subjects in memory at once."""
_STALE_SECONDS = 86_400
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class PreparedSubject:
    """Rows [start, stop) of the arrays belong to this subject (to one scan of it, if there are several)."""

    pseudonym: str
    split: str
    start: int
    stop: int
    geometry: Geometry


@dataclass(frozen=True, kw_only=True)
class PreparedCohort:
    """Slices of all subjects. Intensities: the source's low and high percentile are 0 and 1, not clipped.

    The arrays are memory-mapped and read-only; pickled, they travel as plain arrays.
    """

    source: np.ndarray
    """float32 (S, H, W), H and W multiples of 8."""
    target: np.ndarray
    """float32 (S, H, W), on the source's scale."""
    mask: np.ndarray
    """bool (S, H, W)."""
    lesion: np.ndarray | None
    """bool (S, H, W); None where no subject has a lesion mask."""
    subjects: tuple[PreparedSubject, ...]
    provenance: dict[str, Any]
    """What was done, for the record; JSON, without identifiers."""
    neighbours: int = 0

    def split(self, name: str) -> tuple[PreparedSubject, ...]:
        """The subjects of `train`, `validation` or `test`."""
        return tuple(subject for subject in self.subjects if subject.split == name)

    def inputs(self, rows: np.ndarray) -> np.ndarray:
        """Source slices with their neighbours as channels, float32 (len(rows), 1 + 2 * neighbours, H, W).

        At a subject's first and last slice the slice itself stands in for what lies beyond.
        """
        starts = np.array([subject.start for subject in self.subjects])
        stops = np.array([subject.stop for subject in self.subjects])
        owner = np.searchsorted(starts, rows, side="right") - 1
        offsets = np.arange(-self.neighbours, self.neighbours + 1)
        around = np.clip(np.asarray(rows)[:, None] + offsets, starts[owner, None], stops[owner, None] - 1)
        return self.source[around]


def prepare(cohort: Cohort, config: CohortConfig, cache: Path) -> PreparedCohort:
    """Reads, checks, normalises, crops and slices a cohort, or finds that done in the cache.

    Args:
        cohort: what `find_cohort` found.
        config: percentiles, axis, split and so on.
        cache: a folder for the arrays; made if it is missing.

    Raises:
        UserError: a subject cannot be used, two hold the same image, or there are too few for the splits.
    """
    _refuse(cohort.problems, cohort)
    splits = assign_splits(cohort.subjects, config)
    subjects = [subject for subject in cohort.subjects if subject.id in splits]
    digests = _gather(digest_files, subjects, cohort)
    _refuse(find_copies(subjects, digests), cohort)
    settings = {
        "format": FORMAT,
        **config.model_dump(mode="json", include={"resample", "percentiles", "axis"}),
    }
    key = _hash([settings, digests])
    folder = Path(cache) / key
    if not folder.is_dir():
        _build(subjects, cohort, config, folder)
    return _open(folder, subjects, splits, cohort, config)


def pseudonyms(cohort: Cohort, config: CohortConfig) -> dict[Subject, str]:
    """What each scan is called outside the cohort's folder: numbered in the order of ids."""
    ids = sorted({subject.id for subject in cohort.subjects})
    number = {name: index for index, name in enumerate(ids, 1)}
    scans: dict[str, int] = {}
    names: dict[Subject, str] = {}
    for subject in cohort.subjects:
        scans[subject.id] = scans.get(subject.id, 0) + 1
        if config.pseudonyms:
            scan = f"-scan-{scans[subject.id]}" if subject.scan else ""
            names[subject] = f"subject-{number[subject.id]:03d}{scan}"
        else:
            names[subject] = subject.label.replace(" ", "_")
    return names


# Steps


def _gather(work: Callable[[Subject], _Result], subjects: Sequence[Subject], cohort: Cohort) -> list[_Result]:
    """Does the work on every subject in a few threads; refuses the cohort with all that went wrong."""

    def attempt(subject: Subject) -> _Result | Problem:
        try:
            return work(subject)
        except UserError as error:
            return Problem(subject=subject.id, message=str(error))

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        outcomes = list(pool.map(attempt, subjects))
    _refuse([outcome for outcome in outcomes if isinstance(outcome, Problem)], cohort)
    return [outcome for outcome in outcomes if not isinstance(outcome, Problem)]


def _refuse(problems: Sequence[Problem], cohort: Cohort) -> None:
    if problems:
        shown = "; ".join(problem.message for problem in problems[:3])
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{cohort.root}: the cohort cannot be used: {shown}{more} (`cohort check` lists everything)")


def _box(subject: Subject, config: CohortConfig) -> Box:
    # Where a mask is given, the source's header is enough for now.
    mask = find_mask(subject, load_grid(subject.source), config)
    return bounding_box(as_slices(mask, config.axis))


def _build(subjects: Sequence[Subject], cohort: Cohort, config: CohortConfig, folder: Path) -> None:
    """Writes the arrays beside `folder`, then moves them there in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    boxes = _gather(lambda subject: _box(subject, config), subjects, cohort)
    height, width = common_size(boxes)
    edges = np.cumsum([0, *(stop - start for (start, stop), *_ in boxes)])
    rows = {subject: (int(edges[i]), int(edges[i + 1])) for i, subject in enumerate(subjects)}
    box_of = dict(zip(subjects, boxes, strict=True))
    shape = (int(edges[-1]), height, width)
    names = ["source", "target", "mask", *(["lesion"] if any(subject.lesion for subject in subjects) else [])]
    workplace = folder.parent / f".preparing-{uuid.uuid4().hex}"
    workplace.mkdir()
    try:
        arrays = {
            name: np.lib.format.open_memmap(
                workplace / f"{name}.npy",
                mode="w+",
                dtype=np.float32 if name in ("source", "target") else bool,
                shape=shape,
            )
            for name in names
        }

        def write(subject: Subject) -> dict[str, Any]:
            start, stop = rows[subject]
            part = {name: array[start:stop] for name, array in arrays.items()}
            return _write(subject, config, box_of[subject], (height, width), part)

        records = _gather(write, subjects, cohort)
        for array in arrays.values():
            array.flush()
        (workplace / "prepared.json").write_text(json.dumps({"scans": records}))
        # Another process may have been faster: its folder holds the same, and is never replaced.
        with suppress(OSError):
            os.replace(workplace, folder)
        if not folder.is_dir():
            raise UserError(f"{folder}: the cache cannot be written; choose another folder")
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _write(
    subject: Subject, config: CohortConfig, box: Box, size: tuple[int, int], part: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Fills one subject's rows, one volume after the other."""
    source, mask, low, high = load_source(subject, config)
    grid, notes = source.grid, list(source.notes)
    geometry = Geometry.around(box, size, grid, config.axis, low, high)
    part["mask"][:] = geometry.cut(mask)
    part["source"][:] = geometry.slices(source.data)
    del source  # before the next is read
    part["target"][:] = geometry.slices(align_target(load_volume(subject.target), grid, mask, config))
    lesion = find_lesion(subject, grid, config)
    if lesion is not None:
        part["lesion"][:] = geometry.cut(lesion)
    return {
        "geometry": asdict(geometry),
        "notes": notes,
        "mask": "foreground" if subject.mask is None else "given",
    }


def _sweep(cache: Path) -> None:
    """Removes what processes killed more than a day ago left behind."""
    for left in cache.glob(".preparing-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _open(
    folder: Path, subjects: Sequence[Subject], splits: dict[str, str], cohort: Cohort, config: CohortConfig
) -> PreparedCohort:
    records = json.loads((folder / "prepared.json").read_text())["scans"]
    names = pseudonyms(cohort, config)
    prepared = []
    start = 0
    for subject, record in zip(subjects, records, strict=True):
        geometry = Geometry.from_json(record["geometry"])
        stop = start + geometry.size[0]
        prepared.append(
            PreparedSubject(
                pseudonym=names[subject], split=splits[subject.id], start=start, stop=stop, geometry=geometry
            )
        )
        start = stop
    lesion = folder / "lesion.npy"
    source = _map(folder / "source.npy")
    return PreparedCohort(
        source=source,
        target=_map(folder / "target.npy"),
        mask=_map(folder / "mask.npy"),
        lesion=_map(lesion) if lesion.exists() else None,
        subjects=tuple(prepared),
        provenance={
            "digest": folder.name,
            "dataset": cohort.name,
            "simulated": cohort.simulated,
            "num_scans": len(prepared),
            "shape": list(source.shape),
            "axis": config.axis,
            "neighbours": config.neighbours,
            "normalisation": (
                f"percentiles {config.percentiles[0]:g} and {config.percentiles[1]:g} of the source inside "
                f"the mask become 0 and 1; the target has the same scale"
            ),
            "num_masks": {kind: sum(record["mask"] == kind for record in records) for kind in ("given", "foreground")},
            "resample": config.resample,
            "num_mended": sum(bool(record["notes"]) for record in records),
        },
        neighbours=config.neighbours,
    )


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]


def _map(path: Path) -> np.ndarray:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
