"""A cohort ready to learn from: slices of all subjects in a few arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from trainables.cohort.geometry import Geometry


@dataclass(frozen=True, kw_only=True)
class PreparedSubject:
    """Rows [start, stop) of the arrays belong to this subject (to one scan of it, if there are several)."""

    pseudonym: str
    split: str
    start: int
    stop: int
    geometry: Geometry
    scan_of: str | None = None
    """Pseudonym of the subject, where it has several scans."""


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

    @property
    def scans(self) -> dict[str, str]:
        """Scan -> subject (pseudonyms), of subjects with several scans; the only scan of a subject has its name."""
        return {scan.pseudonym: scan.scan_of for scan in self.subjects if scan.scan_of is not None}

    def with_neighbours(self, rows: np.ndarray) -> np.ndarray:
        """The rows of these slices and their neighbours, (len(rows), 1 + 2 * neighbours).

        At a subject's first and last slice the slice itself stands in for what lies beyond.
        """
        starts = np.array([subject.start for subject in self.subjects])
        stops = np.array([subject.stop for subject in self.subjects])
        owner = np.searchsorted(starts, rows, side="right") - 1
        return with_neighbours(rows, self.neighbours, starts[owner], stops[owner])


def with_neighbours(rows: np.ndarray, neighbours: int, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Each row with its neighbours, (len(rows), 1 + 2 * neighbours), kept within [start, stop) of its volume."""
    offsets = np.arange(-neighbours, neighbours + 1)
    return np.clip(np.asarray(rows)[:, None] + offsets, starts[:, None], stops[:, None] - 1)


def sample_slice(cohort: PreparedCohort, subject: PreparedSubject) -> int:
    """The slice that stands for a subject in pictures: where its lesion is largest, else where its mask is."""
    rows = slice(subject.start, subject.stop)
    region = cohort.mask[rows]
    if cohort.lesion is not None and cohort.lesion[rows].any():
        region = cohort.lesion[rows]
    return int(region.sum(axis=(1, 2)).argmax())
