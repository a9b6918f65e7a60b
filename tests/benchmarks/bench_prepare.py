"""How long preparing a cohort takes, and how much memory beyond its result.

Writes noise in ellipsoids (as much work to unpack as an image, at worst), or takes a cohort that is there. Memory
is what Python and NumPy allocated (the arrays themselves lie in mapped files), set against twice one subject's
volumes: two float32 images and two masks.

Usage: python tests/benchmarks/bench_prepare.py [--subjects 80] [--resolution 2] [--cohort DIR]
"""

import argparse
import resource
import tempfile
import time
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np

from trainables.cohort import Cohort, CohortConfig, check, find_cohort, prepare

FIELD_OF_VIEW_MM = (176, 216, 184)


def write_noise(root: Path, num_subjects: int, resolution_mm: float) -> None:
    """Writes a BIDS cohort with the sizes of the virtual one."""
    shape = [round(side / resolution_mm) for side in FIELD_OF_VIEW_MM]
    axes = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij", sparse=True)
    brain = sum(axis**2 for axis in axes) < 0.75
    affine = np.diag([resolution_mm] * 3 + [1])
    for number in range(1, num_subjects + 1):
        rng = np.random.default_rng(number)
        anat = root / f"sub-{number:03d}" / "anat"
        anat.mkdir(parents=True)
        images = {
            "acq-early_ce-gadobutrol_T1w": np.where(brain, rng.integers(200, 1200, shape), 0).astype(np.int16),
            "acq-delayed_ce-gadobutrol_T1w": np.where(brain, rng.integers(200, 1200, shape), 0).astype(np.int16),
            "label-brain_mask": brain.astype(np.uint8),
            "label-lesion_mask": (brain & (rng.random(shape) > 0.99)).astype(np.uint8),
        }
        for end, data in images.items():
            nib.save(nib.Nifti1Image(data, affine), anat / f"sub-{number:03d}_{end}.nii.gz")


def measure(cohort: Cohort, config: CohortConfig, folder: Path) -> None:
    """Prepares twice timed, once again with memory traced, and prints."""
    start = time.perf_counter()
    prepared = prepare(cohort, config, folder / "timed")
    first = time.perf_counter() - start
    start = time.perf_counter()
    prepare(cohort, config, folder / "timed")
    again = time.perf_counter() - start
    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    arrays = [prepared.source, prepared.target, prepared.mask, prepared.lesion]
    result = sum(array.nbytes for array in arrays if array is not None)
    tracemalloc.start()
    prepare(cohort, config, folder / "traced")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    subject = max(10 * int(np.prod(one.geometry.shape)) for one in prepared.subjects)
    print(f"scans                    {len(prepared.subjects)}, {prepared.source.shape} slices")
    print(f"prepare, first time      {first:.2f} s")
    print(f"prepare, from the cache  {again:.2f} s")
    print(f"result on disk           {result / 1e6:.1f} MB")
    print(f"peak beyond the result   {peak / 1e6:.1f} MB = {peak / subject:.2f} x one subject's volumes")
    print(f"peak resident            {peak_rss / 1e6:.1f} MB, mapped pages of the result included")


def main() -> None:
    """Writes (or takes `--cohort`), prepares, checks and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=80)
    parser.add_argument("--resolution", type=float, default=2.0)
    parser.add_argument("--cohort", type=Path, help="a cohort that is already there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = arguments.cohort or folder / "bids"
        if arguments.cohort is None:
            write_noise(root, arguments.subjects, arguments.resolution)
        config = CohortConfig()
        measure(find_cohort(root, config), config, folder)
        start = time.perf_counter()
        report = check(root, config)
        print(f"check                    {time.perf_counter() - start:.2f} s, {len(report.problems)} problems")


if __name__ == "__main__":
    main()
