"""Reads a whole cohort and lists every problem of every subject, without stopping at the first."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from trainables.cohort.config import CohortConfig
from trainables.cohort.digests import Digests, digest_files, find_copies
from trainables.cohort.geometry import Geometry, as_slices, bounding_box
from trainables.cohort.layout import find_cohort
from trainables.cohort.nifti import Volume, load_mask, load_volume
from trainables.cohort.pairs import align_target, find_lesion, find_mask, find_range, grid_difference
from trainables.cohort.prepare import pseudonyms
from trainables.cohort.problems import NUM_THREADS, Problem, Progress
from trainables.cohort.splits import assign_splits
from trainables.cohort.subjects import Cohort, Subject
from trainables.cohort.tables import SPLITS
from trainables.errors import UserError

_Result = TypeVar("_Result")
_PADDING = 2


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """The slice through the middle of a subject's mask, normalised."""

    source: np.ndarray
    """float32 (H, W)."""
    target: np.ndarray
    """float32 (H, W)."""
    mask: np.ndarray
    """bool (H, W)."""


@dataclass(frozen=True, kw_only=True)
class CohortReport:
    """What a check found."""

    problems: tuple[Problem, ...]
    """Everything that keeps the cohort from being used; the subject is '' where it is about the whole."""
    left_out: tuple[Problem, ...]
    """Folders without a pair, and what they hold; they keep nobody from using the others."""
    summary: dict[str, Any]
    """Counts, shapes, voxel sizes, intensities and splits; JSON."""
    rows: tuple[dict[str, Any], ...]
    """One a scan, in the order of ids; JSON. They name subjects, so they stay with the cohort."""
    thumbnails: dict[str, Thumbnail] = field(repr=False)
    """By pseudonym, for `contact_sheet`; scans that could not be read have none."""

    @property
    def ok(self) -> bool:
        return not self.problems


def check(path: Path, config: CohortConfig, *, progress: Progress | None = None) -> CohortReport:
    """Reads every file of a cohort as `prepare` would.

    Args:
        path: a BIDS folder or a CSV manifest.
        config: the configuration that will be run.
        progress: called with (scans read, scans in all) after each.

    Raises:
        UserError: nothing was found, or a table is malformed.
    """
    cohort = find_cohort(path, config)
    names = pseudonyms(cohort, config)
    problems = list(cohort.problems)
    try:
        splits = assign_splits(cohort.subjects, config)
    except UserError as error:
        splits = {}
        problems.append(Problem(subject="", message=str(error)))
    inspections = []
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for inspection in pool.map(lambda subject: _Inspection(subject, config), cohort.subjects):
            inspections.append(inspection)
            if progress:
                progress(len(inspections), len(cohort.subjects))
    readable = [(one.subject, one.digests) for one in inspections if one.digests]
    copies = find_copies(*zip(*readable, strict=True)) if readable else []
    problems += [problem for one in inspections for problem in one.problems] + copies
    rows = tuple(
        {
            "subject": one.subject.id,
            "scan": one.subject.scan,
            "pseudonym": names[one.subject],
            "split": splits.get(one.subject.id),
            "group": one.subject.group,
            **one.facts,
        }
        for one in inspections
    )
    return CohortReport(
        problems=tuple(sorted(problems, key=lambda problem: problem.subject)),
        left_out=cohort.left_out,
        summary=_summary(cohort, rows, splits, problems),
        rows=rows,
        thumbnails={names[one.subject]: one.thumbnail for one in inspections if one.thumbnail},
    )


class _Inspection:
    """One scan read file by file, each fault noted and the rest read on."""

    def __init__(self, subject: Subject, config: CohortConfig) -> None:
        self.subject = subject
        self.problems: list[Problem] = []
        self.facts: dict[str, Any] = {}
        self.thumbnail: Thumbnail | None = None
        self.digests: Digests | None = None
        source = self._try(lambda: load_volume(subject.source))
        target = self._try(lambda: load_volume(subject.target))
        if source is None:
            for path in (subject.mask, subject.lesion):
                if path is not None:
                    self._try(partial(load_mask, path))
        else:
            self._look(source, target, config)
        if source is not None and target is not None:
            self.digests = self._try(lambda: digest_files(subject))
        self.facts["num_problems"] = len(self.problems)

    def _try(self, work: Callable[[], _Result]) -> _Result | None:
        try:
            return work()
        except UserError as error:
            self.problems.append(Problem(subject=self.subject.id, message=str(error)))
            return None

    def _look(self, source: Volume, target: Volume | None, config: CohortConfig) -> None:
        subject, grid = self.subject, source.grid
        self.facts |= {
            "shape": list(grid.shape),
            "voxel_size_mm": [round(size, 4) for size in grid.voxel_size_mm],
            "orientation": _axis_codes(grid.stored_affine),
            "source_range": _extremes(source.data),
            "mask": "foreground" if subject.mask is None else "given",
            "notes": [*source.notes, *(target.notes if target else ())],
        }
        lesion = self._try(lambda: find_lesion(subject, grid, config))
        if lesion is not None:
            self.facts["num_lesion_voxels"] = int(np.count_nonzero(lesion))
        mask = self._try(lambda: find_mask(subject, grid, config, source))
        scale = None
        if mask is not None:
            self.facts["mask_share"] = round(float(mask.mean()), 4)
            scale = self._try(lambda: find_range(source, mask, config))
        if target is None:
            return
        self.facts["target_range"] = _extremes(target.data)
        region = np.ones(grid.shape, dtype=bool) if mask is None else mask
        aligned = self._try(lambda: align_target(target, grid, region, config))
        if aligned is None:
            return
        if difference := grid_difference(target.grid, grid):
            self.facts["notes"].append(f"target resampled: {difference}")
        if mask is not None and scale is not None:
            self._compare(source, aligned, mask, scale, config)

    def _compare(
        self,
        source: Volume,
        target: np.ndarray,
        mask: np.ndarray,
        scale: tuple[float, float],
        config: CohortConfig,
    ) -> None:
        low, high = scale
        box = bounding_box(as_slices(mask, config.axis))
        size = (box[1][1] - box[1][0] + 2 * _PADDING, box[2][1] - box[2][0] + 2 * _PADDING)
        geometry = Geometry.around(box, size, source.grid, config.axis, low, high)
        error = geometry.normalise(target[mask]) - geometry.normalise(source.data[mask])
        mean_square = float(np.mean(np.square(error, dtype=np.float64)))
        self.facts["range"] = [low, high]
        # An outlier among its likes is often a pair that is not registered.
        self.facts["identity_psnr_db"] = round(-10 * math.log10(mean_square), 2) if mean_square else None
        middle = geometry.size[0] // 2
        self.thumbnail = Thumbnail(
            source=geometry.slices(source.data)[middle],
            target=geometry.slices(target)[middle],
            mask=geometry.cut(mask)[middle],
        )


def _extremes(data: np.ndarray) -> list[float]:
    return [float(data.min()), float(data.max())]


def _axis_codes(affine: np.ndarray) -> str:
    from nibabel.orientations import aff2axcodes

    return "".join(aff2axcodes(affine))


def _summary(
    cohort: Cohort, rows: tuple[dict[str, Any], ...], splits: dict[str, str], problems: list[Problem]
) -> dict[str, Any]:
    """Counts over the cohort; what should be one and is several stands out."""

    def values(key: str) -> Iterator[Any]:
        return (row[key] for row in rows if row.get(key) is not None)

    def count(key: str, join: str) -> dict[str, int]:
        return dict(Counter(join.join(str(part) for part in value) for value in values(key)).most_common())

    def span(key: str) -> list[float] | None:
        ranges = list(values(key))
        return [min(low for low, _ in ranges), max(high for _, high in ranges)] if ranges else None

    used = Counter(splits.values())
    return {
        "dataset": cohort.name,
        "simulated": cohort.simulated,
        "num_subjects": len({subject.id for subject in cohort.subjects}),
        "num_scans": len(cohort.subjects),
        "num_problems": len(problems),
        "splits": {split: used[split] for split in SPLITS},
        "groups": dict(Counter(values("group")).most_common()),
        "shapes": count("shape", "x"),
        "voxel_sizes_mm": count("voxel_size_mm", " x "),
        "source_range": span("source_range"),
        "target_range": span("target_range"),
        "num_given_masks": sum(row.get("mask") == "given" for row in rows),
        "num_with_lesion": sum(bool(row.get("num_lesion_voxels")) for row in rows),
    }
