"""The virtual cohort is neither trivial nor hopeless: what needs no network stays where the design wants it."""

from pathlib import Path

import numpy as np
import pytest

from trainables.baselines import fit_intensity_map
from trainables.cohort import CohortConfig, find_cohort, prepare
from trainables.cohort.virtual import VirtualCohortConfig, simulate_cohort


@pytest.mark.slow
def test_baselines_of_a_small_cohort(tmp_path: Path) -> None:
    config = VirtualCohortConfig(num_subjects=30)
    path = simulate_cohort(tmp_path / "cohort", config, num_workers=1)
    cohort = prepare(find_cohort(path, CohortConfig()), CohortConfig(), tmp_path / "prepared")
    intensity_map = fit_intensity_map(cohort)
    scores = []
    for subject in cohort.split("test"):
        rows = np.arange(subject.start, subject.stop)
        mask = cohort.mask[rows]
        source, target = cohort.source[rows][mask], cohort.target[rows][mask]
        scores.append([-10 * np.log10(np.mean((image - target) ** 2)) for image in (source, intensity_map(source))])
    identity, mapped = np.mean(scores, axis=0)
    assert len(scores) == 9
    assert 14 < identity < 17
    assert 20 < mapped < 24
    assert mapped > identity + 4
