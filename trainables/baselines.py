"""What needs no network: the source image itself, and one intensity map for all voxels."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.polynomial import Polynomial

from trainables.cohort import PreparedCohort
from trainables.metrics import find_metric
from trainables.slices import Slices
from trainables.training import Scores, score_subject

FIT_VOXELS = 2_000_000


def baseline_scores(cohort: PreparedCohort, *, split: str = "test", metrics: Sequence[str] = ()) -> dict[str, Scores]:
    """Scores of `identity` and of `intensity_map` on the subjects of a split; `metrics` are measured too."""
    extra = [find_metric(name) for name in metrics]
    intensity_map = fit_intensity_map(cohort)
    scores: dict[str, Scores] = {"identity": {}, "intensity_map": {}}
    slices = Slices(cohort)
    for subject in cohort.split(split):
        source = cohort.source[np.arange(subject.start, subject.stop)]
        # Beyond the intensities it was fitted on, a cubic runs away.
        mapped = intensity_map(source.clip(*intensity_map.domain)).astype(np.float32)
        for name, image in (("identity", source), ("intensity_map", mapped)):
            prediction = torch.from_numpy(image)
            scores[name][subject.pseudonym] = score_subject(slices, subject, prediction, extra=extra)
    return scores


def fit_intensity_map(cohort: PreparedCohort, *, degree: int = 3) -> Polynomial:
    """Least-squares polynomial from source to target intensity over the training subjects' masked voxels.

    Of a large cohort every n-th voxel is used, so that at most about two million enter the fit.
    """
    rows = np.concatenate([np.arange(s.start, s.stop) for s in cohort.split("train")])
    stride = max(1, int(cohort.mask[rows].sum()) // FIT_VOXELS)
    pairs = [(cohort.source[r][cohort.mask[r]][::stride], cohort.target[r][cohort.mask[r]][::stride]) for r in rows]
    source = np.concatenate([pair[0] for pair in pairs]).astype(np.float64)
    target = np.concatenate([pair[1] for pair in pairs]).astype(np.float64)
    return Polynomial.fit(source, target, degree)
