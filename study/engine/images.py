"""The study's images: simulated or found, then prepared, cached beside the studies that share them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from study.settings.schema import CohortSection
from trainables.cohort import PreparedCohort, find_cohort, prepare
from trainables.cohort.prepared import sample_slice
from trainables.cohort.tables import SPLITS
from trainables.files import replacing


def obtain(config: CohortSection, cache: Path, *, say: Callable[[str], None] = lambda line: None) -> PreparedCohort:
    """The prepared cohort of a study.

    Args:
        config: a path, or the virtual cohort's parameters; and how images are prepared.
        cache: folder for simulated and prepared cohorts; studies side by side share it.
        say: told what is being done, in a line each.

    Raises:
        UserError: the files or the split are not fit for a study.
    """
    path = config.path
    if path is None:
        path = simulate(config, cache, say=say)
    found = find_cohort(path.absolute(), config.prepare)
    if found.left_out:
        names = ", ".join(one.subject for one in found.left_out)
        say(f"No pair in {names}: left out (`cov-study cohort check {path}` says what they hold)")
    return prepare(found, config.prepare, cache / "prepared")


def describe(cohort: PreparedCohort) -> dict[str, Any]:
    """What the journal and the report say of a cohort: no identifiers."""
    num_slices, height, width = cohort.source.shape
    subjects = {split: {scan.scan_of or scan.pseudonym for scan in cohort.split(split)} for split in SPLITS}
    return {
        "num_subjects": sum(len(names) for names in subjects.values()),
        "num_scans": len(cohort.subjects),
        "splits": {split: len(names) for split, names in subjects.items()},
        "simulated": bool(cohort.provenance.get("simulated")),
        "shape": {"num_slices": num_slices, "height": height, "width": width},
        "digest": cohort.provenance["digest"],
        "provenance": cohort.provenance,
    }


def save_reference(cohort: PreparedCohort, directory: Path) -> None:
    """Writes the sample slice of each test scan, (num_test_scans, H, W), for the report's images."""
    directory.mkdir(parents=True, exist_ok=True)
    subjects = cohort.split("test")
    rows = [subject.start + sample_slice(cohort, subject) for subject in subjects]
    arrays = {"source": cohort.source[rows], "target": cohort.target[rows], "mask": cohort.mask[rows]}
    if cohort.lesion is not None:
        arrays["lesion"] = cohort.lesion[rows]
    pseudonyms = json.dumps([subject.pseudonym for subject in subjects])
    path = directory / "reference.safetensors"
    with replacing(path) as beside:
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()},
            beside,
            {"subjects": pseudonyms},
        )


def simulate(config: CohortSection, cache: Path, *, say: Callable[[str], None]) -> Path:
    """Writes the virtual cohort as NIfTI in BIDS layout, once for equal parameters."""
    from trainables.cohort.virtual import simulate_cohort

    virtual = config.virtual
    digest = hashlib.sha256(json.dumps(virtual.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:12]
    directory = cache / f"virtual-{digest}"
    say(f"Virtual cohort: {virtual.num_subjects} subjects at {virtual.resolution:g} mm in {directory}")
    return simulate_cohort(directory, virtual)
