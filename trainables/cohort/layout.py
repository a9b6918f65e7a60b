"""Finds the pairs of a cohort, however they are laid out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainables.cohort.bids import find_bids
from trainables.cohort.config import CohortConfig
from trainables.cohort.manifest import find_manifest
from trainables.cohort.subjects import Cohort
from trainables.errors import UserError


def find_cohort(path: Path, config: CohortConfig) -> Cohort:
    """Finds the pairs of a BIDS tree (a folder) or of a manifest (a CSV file).

    Raises:
        UserError: nothing fits, or a table is malformed. Single subjects' faults are in `Cohort.problems`.
    """
    path = Path(path)
    if path.is_dir():
        return replace(find_bids(path, config), **_describe(path))
    if path.is_file():
        return replace(find_manifest(path), **_describe(path.parent))
    raise UserError(f"{path}: no such cohort; give a BIDS folder or a CSV manifest with subject,source,target")


def _describe(root: Path) -> dict[str, Any]:
    """Name and origin from dataset_description.json, where there is one."""
    try:
        description = json.loads((root / "dataset_description.json").read_text(encoding="utf-8"))
        return {"name": str(description.get("Name", "")), "simulated": description.get("Simulated") is True}
    except (OSError, ValueError, AttributeError):
        return {}
