"""Reads a whole cohort and lists every problem of every subject, without stopping at the first."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from trainables.cohort.config import CohortConfig
from trainables.cohort.gains import gains_of
from trainables.cohort.geometry import Geometry, as_slices, bounding_box
from trainables.cohort.layout import find_cohort
from trainables.cohort.likeness import sketch
from trainables.cohort.nifti import Grid, Volume, load_mask, mend, read_volume
from trainables.cohort.pairs import align_target, find_lesion, find_mask, find_range, grid_difference, mend_target
from trainables.cohort.prepare import pseudonyms
from trainables.cohort.problems import NUM_THREADS, Problem, Progress
from trainables.cohort.splits import assign_splits
from trainables.cohort.subjects import Cohort, Subject
from trainables.cohort.tables import SPLITS
from trainables.cohort.traits import Traits, find_common_problems
from trainables.errors import UserError

_Result = TypeVar("_Result")
_PADDING = 2
PLAUSIBLE_MM = (0.05, 20.0)
"""Sides of a voxel outside of which the header's unit of length is doubted, and a note says so: a micro-CT is right."""


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
    problems += [problem for one in inspections for problem in one.problems]
    measured = {one.subject: one.traits for one in inspections if one.traits}
    if splits:
        idle = {subject for subject in measured if subject.id not in splits}
        measured |= {subject: replace(measured[subject], levels=None) for subject in idle}
    problems += find_common_problems(list(measured), list(measured.values()))
    gains = dict(zip(measured, gains_of([traits.levels for traits in measured.values()]), strict=True))
    rows = tuple(
        {
            "subject": one.subject.id,
            "scan": one.subject.scan,
            "pseudonym": names[one.subject],
            "split": splits.get(one.subject.id),
            "group": one.subject.group,
            **one.facts,
            "gain": gains.get(one.subject),
        }
        for one in inspections
    )
    return CohortReport(
        problems=tuple(sorted(problems, key=lambda problem: problem.subject)),
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
        self.traits: Traits | None = None
        source = self._try(lambda: read_volume(subject.source))
        target = self._try(lambda: read_volume(subject.target))
        if source is not None and target is not None:
            self.traits = Traits(sketches=(sketch(source.data), sketch(target.data)))
        if source is None:
            for path in (subject.mask, subject.lesion):
                if path is not None:
                    self._try(partial(load_mask, path))
        else:
            self._look(source, target, config)
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
            "notes": [
                *_odd_units("source", source.grid),
                *(_odd_units("target", target.grid) if target else ()),
            ],
        }
        lesion = self._try(lambda: find_lesion(subject, grid, config))
        if lesion is not None:
            self.facts["num_lesion_voxels"] = int(np.count_nonzero(lesion))
        mended, mask = self._mask(source, config)
        scale = None
        if mask is not None:
            self.facts["mask_share"] = round(float(mask.mean()), 4)
        if mask is not None and mended is not None:
            self.facts["notes"] += [f"source: {note}" for note in mended.notes]
            scale = self._try(lambda: find_range(mended, mask, config))
        if target is None:
            return
        self.facts["target_range"] = _extremes(target.data)
        region = np.ones(grid.shape, dtype=bool) if mask is None else mask
        mended_target = self._try(lambda: mend_target(target, grid, region, config))
        if mended_target is None:
            return
        self.facts["notes"] += [f"target: {note}" for note in mended_target.notes]
        aligned = self._try(lambda: align_target(mended_target, grid, region, config))
        if aligned is None:
            return
        if difference := grid_difference(target.grid, grid):
            self.facts["notes"].append(f"target resampled: {difference}")
        if mended is not None and mask is not None and scale is not None:
            self._compare(mended, aligned, mask, scale, config)

    def _mask(self, source: Volume, config: CohortConfig) -> tuple[Volume | None, np.ndarray | None]:
        """The source without NaN, and its mask: a given one says which NaN count, a foreground is found without."""
        subject = self.subject
        if subject.mask is None:
            mended = self._try(lambda: mend(source))
            return mended, self._try(lambda: find_mask(subject, source.grid, config, mended)) if mended else None
        mask = self._try(lambda: find_mask(subject, source.grid, config))
        return self._try(lambda: mend(source, mask)), mask

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
        before, after = source.data[mask], target[mask]
        if self.traits is not None:
            self.traits = Traits.of(self.traits.sketches, before, after)
        error = geometry.normalise(after) - geometry.normalise(before)
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


def _odd_units(role: str, grid: Grid) -> list[str]:
    """What a header says of lengths, where it is not what most files hold."""
    names = {"micron": "micrometres", "meter": "metres"}
    notes = [f"{role}: its header counts in {names[grid.unit]}"] if grid.unit in names else []
    low, high = PLAUSIBLE_MM
    if not all(low <= side <= high for side in grid.voxel_size_mm):
        sides = " x ".join(f"{side:.3g}" for side in grid.voxel_size_mm)
        notes.append(f"{role}: its voxels measure {sides} mm; check the unit of length in its header (xyzt_units)")
    return notes


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
