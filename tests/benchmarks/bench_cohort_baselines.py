"""How hard the virtual cohort is: the scores of what needs no network, on its test subjects.

The source itself, a cubic intensity map fitted on the training subjects, and the same map fitted on each test
subject's own target (an oracle: what no map of intensities can beat). Mean and standard deviation over subjects.

Usage: python tests/benchmarks/bench_cohort_baselines.py [--subjects 80] [--seed 0] [--resolution 2] [--cohort DIR]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.polynomial import Polynomial

from trainables.baselines import baseline_scores
from trainables.cohort import CohortConfig, PreparedCohort, find_cohort, prepare
from trainables.cohort.virtual import VirtualCohortConfig, simulate_cohort
from trainables.slices import Slices
from trainables.training import Scores, score_subject


def oracle_scores(cohort: PreparedCohort) -> Scores:
    """Each test subject's best cubic map, fitted on its own target inside the mask."""
    scores: Scores = {}
    for subject in cohort.split("test"):
        rows = np.arange(subject.start, subject.stop)
        source, mask = cohort.source[rows], cohort.mask[rows]
        best = Polynomial.fit(source[mask].astype(float), cohort.target[rows][mask].astype(float), 3)
        prediction = torch.from_numpy(best(source).astype(np.float32))
        scores[subject.pseudonym] = score_subject(Slices(cohort), subject, prediction)
    return scores


def main() -> None:
    """Simulates (or takes `--cohort`), prepares, scores and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resolution", type=float, default=2.0)
    parser.add_argument("--cohort", type=Path, help="a cohort that is already there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.cohort
        if path is None:
            config = VirtualCohortConfig(
                num_subjects=arguments.subjects, seed=arguments.seed, resolution=arguments.resolution
            )
            path = simulate_cohort(Path(scratch) / "cohort", config)
        cohort = prepare(find_cohort(path, CohortConfig()), CohortConfig(), Path(scratch) / "prepared")
        scores = {**baseline_scores(cohort), "oracle_map": oracle_scores(cohort)}
    print(f"{len(cohort.split('test'))} test subjects{' (simulated)' if cohort.provenance['simulated'] else ''}")
    for name, by_subject in scores.items():
        cells = []
        for region in ("mask", "lesion", "volume"):
            for metric in ("psnr", "ssim"):
                values = [regions[region][metric] for regions in by_subject.values() if region in regions]
                cells.append(f"{region} {metric} {np.mean(values):6.3f} ± {np.std(values, ddof=1):5.3f}")
        print(f"{name:14}", "   ".join(cells))


if __name__ == "__main__":
    main()
