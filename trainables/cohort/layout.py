"""Finds the pairs of a cohort, however they are laid out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainables.cohort.bids import find_bids
from trainables.cohort.config import CohortConfig
from trainables.cohort.manifest import find_manifest
from trainables.cohort.subjects import Cohort, given_twice
from trainables.errors import UserError


def find_cohort(path: Path, config: CohortConfig) -> Cohort:
    """Finds the pairs of a BIDS tree (a folder) or of a manifest (a CSV file).

    Raises:
        UserError: nothing fits, or a table is malformed. Single subjects' faults are in `Cohort.problems`.
    """
    path = Path(path)
    if path.is_dir():
        cohort = find_bids(path, config)
    elif path.is_file():
        cohort = find_manifest(path)
    else:
        raise UserError(f"{path}: no such cohort; give a BIDS folder or a CSV manifest with subject,source,target")
    problems = (*cohort.problems, *given_twice(cohort.subjects, path))
    return replace(cohort, problems=problems, **_describe(cohort.root))


def _describe(root: Path) -> dict[str, Any]:
    """Name and origin from dataset_description.json, where there is one."""
    try:
        description = json.loads((root / "dataset_description.json").read_text(encoding="utf-8"))
        return {"name": str(description.get("Name", "")), "simulated": description.get("Simulated") is True}
    except (OSError, ValueError, AttributeError):
        return {}
