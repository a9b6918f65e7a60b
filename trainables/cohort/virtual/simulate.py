"""Simulates a whole virtual cohort: in parallel, resumable, the same bytes for the same config."""

import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.cohort.virtual import bids
from trainables.cohort.virtual.protocol import VirtualCohortConfig, apportion
from trainables.cpus import usable_cpus
from trainables.errors import UserError

if TYPE_CHECKING:
    from trainables.cohort.virtual.anatomy import Template


@dataclass(frozen=True, kw_only=True)
class PlannedSubject:
    """A subject to be."""

    number: int
    """From 1."""
    label: str
    split: str
    kind: str


def simulate_cohort(
    directory: Path,
    config: VirtualCohortConfig,
    *,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Simulates a cohort into `directory`; subjects that are already there, whole, are kept.

    The folder holds `dataset_description.json` (marked as simulated, with the config), one folder a subject with
    the early and the delayed image, brain and lesion mask and the drawn parameters, and at the end
    `participants.tsv` with split and main lesion kind. Images are int16, masks uint8.

    Args:
        directory: new, empty, or an earlier, perhaps unfinished, cohort of the same config.
        config: what to simulate.
        num_workers: processes; None for one a usable CPU. The bytes don't depend on it.
        progress: called with (subjects done, subjects in all) at the start and whenever one is done.

    Returns:
        `directory`.

    Raises:
        UserError: the folder holds something else or another config's cohort, or can't be written; or a process
            was killed. What is finished stays, and the same call goes on from there.
    """
    directory = Path(directory)
    if num_workers is None:
        num_workers = usable_cpus()
    if num_workers < 1:
        raise UserError(f"num_workers is {num_workers}: give 1 or more, or leave it out for one a CPU")
    plans = plan_subjects(config)
    try:
        bids.claim(directory, config)
        with bids.exclusive(directory) as scratch:
            _simulate_missing(directory, scratch, config, plans, num_workers, progress)
            bids.write_tables(directory, config, [(plan.label, plan.split, plan.kind) for plan in plans])
    except OSError as error:
        raise UserError(f"{directory}: can't write the virtual cohort there: {error.strerror or error}") from error
    except BrokenProcessPool as error:
        raise UserError(
            f"{directory}: a process that simulated was killed, perhaps for memory: "
            "run it again with fewer workers, it goes on where it stopped"
        ) from error
    return directory


def plan_subjects(config: VirtualCohortConfig) -> list[PlannedSubject]:
    """Plans who is in which split with which lesion: in each split the kinds keep their shares."""
    import numpy as np

    width = max(3, len(str(config.num_subjects)))
    plans: list[PlannedSubject] = []
    for index, (split, count) in enumerate(config.splits()):
        kinds = [kind for kind, n in apportion(count, config.lesions.shares()).items() for _ in range(n)]
        np.random.default_rng([config.seed, index]).shuffle(kinds)
        for kind in kinds:
            number = len(plans) + 1
            plans.append(PlannedSubject(number=number, label=f"sub-{number:0{width}d}", split=split, kind=kind))
    return plans


def _simulate_missing(
    directory: Path,
    scratch: Path,
    config: VirtualCohortConfig,
    plans: list[PlannedSubject],
    num_workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    agent = config.protocol.agent
    with ThreadPoolExecutor(num_workers) as threads:
        whole = threads.map(lambda plan: bids.is_whole(directory / plan.label, agent), plans)
        missing = [plan for plan, is_whole in zip(plans, whole, strict=True) if not is_whole]
    done = len(plans) - len(missing)
    report = progress or (lambda done, total: None)
    report(done, len(plans))
    if not missing:
        return

    from trainables.cohort.virtual.anatomy import load_template

    template = load_template(config.resolution)
    if num_workers == 1 or len(missing) == 1:
        worker = _Worker(directory, config, template)
        for plan in missing:
            worker.simulate(plan)
            report(done := done + 1, len(plans))
        return

    template.save(scratch / "template")
    pool = ProcessPoolExecutor(
        min(num_workers, len(missing)),
        mp_context=get_context("spawn"),  # a fork would inherit the caller's threads in whatever state they are
        initializer=_start_worker,
        initargs=(directory, scratch / "template", config),
    )
    try:
        for future in as_completed([pool.submit(_simulate_in_worker, plan) for plan in missing]):
            future.result()
            report(done := done + 1, len(plans))
    finally:
        pool.shutdown(cancel_futures=True)


class _Worker:
    """Simulates subjects on one thread; all it needs is loaded once."""

    def __init__(self, directory: Path, config: VirtualCohortConfig, template: "Template") -> None:
        self.directory, self.config, self.template = directory, config, template

    def simulate(self, plan: PlannedSubject) -> None:
        import numpy as np
        from threadpoolctl import threadpool_limits

        from trainables.cohort.virtual.subject import simulate_subject

        rng = np.random.default_rng(np.random.SeedSequence(self.config.seed, spawn_key=(plan.number,)))
        # A matrix product's last digits depend on its number of threads.
        with threadpool_limits(1):
            subject = simulate_subject(self.template, self.config, plan.kind, rng)
        bids.write_subject(self.directory, plan.label, self.config.protocol.agent, subject)


_worker: _Worker


def _start_worker(directory: Path, template_folder: Path, config: VirtualCohortConfig) -> None:
    from trainables.cohort.virtual.anatomy import Template

    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _worker = _Worker(directory, config, Template.open(template_folder))


def _simulate_in_worker(plan: PlannedSubject) -> None:
    _worker.simulate(plan)
