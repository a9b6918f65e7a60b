"""A cohort made ready to learn from: slices of all subjects in memory-mapped arrays, cached by content.

The cache holds no identifier. A folder appears in it whole or not at all, whoever else prepares the same cohort,
and whenever this process dies. Splits and pseudonyms are not part of it, so a new split needs no new arrays.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainables.cohort.arrays import RECORDS, is_outdated, write_arrays
from trainables.cohort.config import CohortConfig
from trainables.cohort.digests import digest_files
from trainables.cohort.domain import Domain
from trainables.cohort.geometry import Geometry
from trainables.cohort.prepared import PreparedCohort, PreparedSubject
from trainables.cohort.problems import Progress, gather, refuse
from trainables.cohort.splits import assign_splits
from trainables.cohort.subjects import Cohort, Subject
from trainables.cohort.traits import Traits, find_common_problems
from trainables.errors import UserError

FORMAT = 1
"""Raised when the arrays would come out differently, so that older caches are not read."""


def prepare(cohort: Cohort, config: CohortConfig, cache: Path, *, progress: Progress | None = None) -> PreparedCohort:
    """Reads, checks, normalises, crops and slices a cohort, or finds that done in the cache.

    Args:
        cohort: what `find_cohort` found.
        config: percentiles, axis, split and so on.
        cache: a folder for the arrays; made if it is missing.
        progress: called with (scans done, scans in all) while arrays are written.

    Raises:
        UserError: a subject cannot be used, two hold the same image, the target's gain differs too much between
            subjects, or there are too few for the splits.
    """
    refuse(cohort.problems, cohort.root)
    splits = assign_splits(cohort.subjects, config)
    subjects = [subject for subject in cohort.subjects if subject.id in splits]
    digests = gather(digest_files, subjects, cohort.root)
    settings = config.model_dump(mode="json", include={"resample", "percentiles", "axis"})
    folder = Path(cache) / _hash([FORMAT, settings, digests])
    if not folder.is_dir() or is_outdated(folder):
        write_arrays(subjects, config, folder, cohort.root, progress)
    try:
        prepared, traits = _open(folder, subjects, splits, cohort, config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: this cache is damaged ({error}); delete the folder, it will be made again"
        ) from error
    refuse(find_common_problems(subjects, traits), cohort.root)
    return prepared


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


def _open(
    folder: Path, subjects: Sequence[Subject], splits: dict[str, str], cohort: Cohort, config: CohortConfig
) -> tuple[PreparedCohort, list[Traits]]:
    records = json.loads((folder / RECORDS).read_text())
    traits = [Traits.from_json(record["traits"]) for record in records]
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
    num_mended = sum(bool(record["notes"]) for record in records)
    lesion = folder / "lesion.npy"
    source, mask = _map(folder / "source.npy"), _map(folder / "mask.npy")
    trained = [subject for subject in prepared if subject.split == "train"]
    domain = Domain.of((source[s.start : s.stop], mask[s.start : s.stop], s.geometry) for s in trained)
    whole = PreparedCohort(
        source=source,
        target=_map(folder / "target.npy"),
        mask=mask,
        lesion=_map(lesion) if lesion.exists() else None,
        subjects=tuple(prepared),
        provenance={
            "digest": _hash(
                [folder.name, [subject.split for subject in prepared], *(["filled"] if num_mended else [])]
            ),
            "dataset": cohort.name,
            "simulated": cohort.simulated,
            "num_scans": len(prepared),
            "shape": list(source.shape),
            "axis": config.axis,
            "neighbours": config.neighbours,
            "percentiles": list(config.percentiles),
            "normalisation": (
                f"percentiles {config.percentiles[0]:g} and {config.percentiles[1]:g} of the source inside "
                f"the mask become 0 and 1; the target has the same scale"
            ),
            "num_masks": {kind: sum(record["mask"] == kind for record in records) for kind in ("given", "foreground")},
            "resample": config.resample,
            "num_mended": num_mended,
            "domain": domain.model_dump(mode="json"),
        },
        neighbours=config.neighbours,
    )
    return whole, traits


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]


def _map(path: Path) -> np.ndarray:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
