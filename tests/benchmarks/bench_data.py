"""Simulating and preparing a cohort beside a straightforward loop, and what workers that share one hold."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from study.engine.cluster import cluster
from study.settings.reading import validate
from tests.benchmarks.table import Row, milliseconds, race, ratio
from trainables.cohort import CohortConfig, PreparedCohort, find_cohort, prepare
from trainables.cohort.virtual import VirtualCohortConfig, simulate_cohort

NUM_WORKERS = (1, 2, 4)


def prepare_in_a_loop(root: Path, folder: Path) -> None:
    """What `prepare` yields, as the manuals of nibabel and scipy show it: one subject after another, in float64."""
    config = CohortConfig()
    volumes: dict[str, list[np.ndarray]] = {"source": [], "target": [], "mask": [], "lesion": []}
    for subject in sorted(root.glob("sub-*")):
        images = {
            name: nib.as_closest_canonical(nib.load(next(subject.rglob(f"*{pattern}.nii.gz")))).get_fdata()
            for name, pattern in (
                ("source", config.source_pattern),
                ("target", config.target_pattern),
                ("mask", config.mask_pattern),
                ("lesion", config.lesion_pattern),
            )
        }
        mask = images["mask"] > 0
        low, high = np.percentile(images["source"][mask], config.percentiles)
        box = ndimage.find_objects(mask.astype(int))[0]
        volumes["source"].append(((images["source"] - low) / (high - low))[box].T)
        volumes["target"].append(((images["target"] - low) / (high - low))[box].T)
        volumes["mask"].append(mask[box].T)
        volumes["lesion"].append(images["lesion"][box].T > 0)
    sizes = [-(-max(volume.shape[axis] for volume in volumes["mask"]) // 8) * 8 for axis in (1, 2)]
    folder.mkdir(parents=True, exist_ok=True)
    for name, parts in volumes.items():
        padded = [
            np.pad(part, ((0, 0), *((0, s - n) for s, n in zip(sizes, part.shape[1:], strict=True)))) for part in parts
        ]
        np.save(folder / f"{name}.npy", np.concatenate(padded).astype(np.float32 if padded[0].dtype == float else bool))


def rewrite(root: Path, folder: Path) -> None:
    """Only writes the images of a cohort: what no simulation can do without."""
    for number, path in enumerate(sorted(root.rglob("*.nii.gz"))):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header), folder / f"{number}.nii.gz")


def rows(quick: bool) -> Iterator[Row]:
    """Simulation, preparation, memory. Wall-clock time: both use all processors they find."""
    config = VirtualCohortConfig(num_subjects=4 if quick else 24, resolution=3 if quick else 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = folder / "cohort"
        simulate_cohort(root, config)
        yield _simulation(folder, root, config, num_rounds=1 if quick else 3)
        yield from _preparation(folder, root, num_rounds=3 if quick else 5)
        if not quick:
            yield _memory(prepare(find_cohort(root, CohortConfig()), CohortConfig(), folder / "cache"))


def _fresh(folder: Path, make: Callable[[Path], Any]) -> Callable[[], None]:
    """Calls with a folder that is empty every time."""

    def once() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)

    return once


def _simulation(folder: Path, root: Path, config: VirtualCohortConfig, num_rounds: int) -> Row:
    seconds = race(
        {
            "simulated": _fresh(folder / "simulated", lambda path: simulate_cohort(path, config)),
            "written": _fresh(folder / "written", lambda path: rewrite(root, path)),
        },
        num_rounds,
        clock=time.perf_counter,
    )
    each = {name: milliseconds(seconds, name) / config.num_subjects for name in seconds}
    return Row(
        what=f"data: {config.num_subjects} subjects at {config.resolution:g} mm simulated / only written with nibabel",
        value=ratio(seconds, "simulated", "written"),
        detail=f"{each['simulated']:.0f} / {each['written']:.0f} ms a subject",
        figures=each,
    )


def _preparation(folder: Path, root: Path, num_rounds: int) -> Iterator[Row]:
    def ours(path: Path) -> PreparedCohort:
        return prepare(find_cohort(root, CohortConfig()), CohortConfig(), path)

    ours(folder / "kept")
    seconds = race(
        {
            "ours": _fresh(folder / "ours", ours),
            "again": lambda: ours(folder / "kept"),
            "loop": _fresh(folder / "loop", lambda path: prepare_in_a_loop(root, path)),
        },
        num_rounds,
        clock=time.perf_counter,
    )
    num_subjects = len(find_cohort(root, CohortConfig()).subjects)
    each = {name: milliseconds(seconds, name) / num_subjects for name in seconds}
    for name, what in (("ours", "prepared, every file checked"), ("again", "prepared a second time")):
        yield Row(
            what=f"data: {num_subjects} subjects in a loop of nibabel and scipy / {what}",
            value=ratio(seconds, "loop", name),
            detail=f"{each['loop']:.1f} / {each[name]:.1f} ms a subject",
            figures=each,
        )


def _memory(cohort: PreparedCohort) -> Row:
    """Memory of their own that workers hold once they have trained and validated, few and many."""
    config = validate(
        {"arms": {"cov": {}}, "resources": {"workers": 1, "cpus_per_trial": 1, "gpus_per_trial": 0}}, "bench_data"
    )
    held: dict[int, float] = {}
    with cluster(config.resources, None):
        import ray

        reference = ray.put(cohort)
        worker = ray.remote(num_cpus=0)(_Worker)
        workers: list[Any] = []
        for number in NUM_WORKERS:
            workers += [worker.remote(reference) for _ in range(number - len(workers))]
            held[number] = max(ray.get([worker.held.remote() for worker in workers])) / 1e6
    few, many = NUM_WORKERS[0], NUM_WORKERS[-1]
    arrays = (cohort.source, cohort.target, cohort.mask, cohort.lesion)
    return Row(
        what=f"data: memory of its own that a worker holds, one of {many} / alone",
        value=held[many] / held[few],
        at_most=1.05,
        detail=", ".join(f"{number}: {megabytes:.0f} MB" for number, megabytes in held.items())
        + f"; the cohort's {sum(array.nbytes for array in arrays if array is not None) / 1e6:.0f} MB are there once",
        figures={str(number): megabytes for number, megabytes in held.items()},
    )


class _Worker:
    """Trains a little, as a trial does."""

    def __init__(self, cohort: PreparedCohort) -> None:
        from trainables.config import TrainingConfig
        from trainables.meter import Meter
        from trainables.startup import ready_process
        from trainables.training import Training
        from trainables.weighting import make_weighting

        ready_process(1)
        self._training = Training(
            TrainingConfig(epochs=100, steps_per_epoch=3),
            cohort,
            terms=("l1", "ssim"),
            weighting=make_weighting({"name": "cov"}, 2),
            seed=0,
            meter=Meter(taken=time.monotonic()),
        )
        for _ in range(3):
            self._training.run_epoch()

    def held(self) -> int:
        """Bytes of anonymous memory: not of files, not shared."""
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    return int(line.split()[1]) * 1024
        raise RuntimeError("this system does not tell how much memory a process holds for itself")
