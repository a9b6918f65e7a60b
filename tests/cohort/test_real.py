"""Real patients' files go all the way through."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from trainables.cohort import CohortConfig, check, find_cohort, prepare

T1W = CohortConfig(source_pattern="T1w", target_pattern="ce-gadolinium_T1w")


def test_real_pairs(study_data: Path, tmp_path: Path) -> None:
    cohort = find_cohort(study_data / "real", T1W)
    prepared = prepare(cohort, T1W, tmp_path)
    assert [(subject.pseudonym, subject.split) for subject in prepared.subjects] == [
        ("subject-001", "train"),
        ("subject-002", "validation"),
        ("subject-003", "test"),
    ]
    assert prepared.lesion is None
    assert not prepared.provenance["simulated"]
    for subject in prepared.subjects:
        rows = slice(subject.start, subject.stop)
        inside = prepared.source[rows][prepared.mask[rows]]
        assert np.percentile(inside, (0.5, 99.5)) == pytest.approx((0, 1), abs=1e-6)
        # Gadolinium brightens: the target's top lies above the source's, on the one scale.
        assert np.percentile(prepared.target[rows][prepared.mask[rows]], 99.5) > 1.2


def test_real_pairs_pass_the_check(study_data: Path) -> None:
    report = check(study_data / "real", T1W)
    assert report.ok
    assert report.summary["splits"] == {"train": 1, "validation": 1, "test": 1}
    assert all(15 < row["identity_psnr_db"] < 17 for row in report.rows)


def test_importing_a_cohort_is_light() -> None:
    heavy = "torch", "monai", "nilearn", "matplotlib", "skimage", "ray", "mlflow", "optuna"
    code = f"import sys, trainables.cohort; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    "settings",
    [
        {"percentiles": (99, 1)},
        {"percentiles": (-1, 99)},
        {"source_pattern": "T1w", "target_pattern": "T1w"},
        {"mask_pattern": "_"},
        {"lesion_pattern": "a/b"},
        {"axis": "oblique"},
        {"num_test": 0},
        {"neighbors": 1},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CohortConfig(**settings)
