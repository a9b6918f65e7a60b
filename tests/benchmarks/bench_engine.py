"""What the engine costs: 1,000 trials of a few milliseconds on simulated nodes.

    python tests/benchmarks/bench_engine.py [--trials 1000] [--nodes 2] [--cpus 2] [--sampler tpe]

Real: Ray's nodes (`ray.cluster_utils.Cluster`, each with processes of its own), the searcher, Optuna on disk, the
journal, flushed and synced, checkpoints and scores. Simulated: the nodes are on this machine, and may have more CPUs
than it has; a training is one step of a tiny network on slices of 16 x 24, and its process's time is counted as the
trial's, not as the engine's. Bars: the driver grows by less than 200 MB, a trial costs less than 0.15 s beside its own,
and `cov-study status`, asked once nine tenths of the trials have begun, answers within a second.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console

from study.commands.progress import Progress
from study.engine.cluster import cluster
from study.engine.drive import drive, make_plan
from study.engine.nodes import check_storage
from study.engine.stopping import stop_signals
from study.engine.trials import Engine
from study.record.environment import code_in_use
from study.record.events import DriverStarted, StudyBegun
from study.record.ledger import cost_of, write_ledger
from study.record.record import Record
from study.record.state import StudyState
from study.settings.arms import make_arms
from study.settings.reading import validate
from study.settings.schema import StudyConfig
from trainables.cohort import PreparedCohort
from trainables.cohort.geometry import Geometry
from trainables.cohort.prepared import PreparedSubject
from trainables.cpus import usable_cpus
from trainables.quantities import GOALS

NUM_REPLICATES = 4
NUM_AUTOMATIC = 20


def study(num_trials: int, sampler: str) -> StudyConfig:
    """Four searches and an automatic arm: together about `num_trials` trials."""
    in_search = (num_trials - NUM_AUTOMATIC) // NUM_REPLICATES
    return validate(
        {
            "name": "engine",
            "seeds": list(range(1, NUM_AUTOMATIC + 1)),
            "terms": ["l1", "l2", "charbonnier"],
            "training": {
                "network": {"channels": [2, 4], "strides": [2]}, "epochs": 1, "steps_per_epoch": 1, "batch_size": 1,
            },
            "arms": {
                "tuned": {
                    "budget": {"trials": in_search}, "replicates": NUM_REPLICATES, "sampler": sampler, "seeds": 1,
                },
                "cov": {"seeds": NUM_AUTOMATIC},
            },
        },
        "bench_engine",
    )  # fmt: skip


def tiny_cohort() -> PreparedCohort:
    """Three subjects of five slices."""
    rng = np.random.default_rng(0)
    source = rng.random((15, 16, 24), dtype=np.float32)
    geometry = Geometry(**dict.fromkeys(Geometry.__dataclass_fields__))
    subjects = tuple(
        PreparedSubject(pseudonym=f"subject-{n}", split=split, start=5 * n, stop=5 * n + 5, geometry=geometry)
        for n, split in enumerate(("train", "validation", "test"))
    )
    return PreparedCohort(
        source=source, target=source**2, mask=np.ones(source.shape, dtype=bool), lesion=None, subjects=subjects,
        provenance={"simulated": True},
    )  # fmt: skip


class Watch(Progress):
    """Notes the driver's memory as trials end, and asks for the status from another process towards the end.

    Args:
        console: takes the study's own lines.
        record: of the study.
        every: trials from one note to the next.
        ask_at: trials handed out when the status is asked for.
    """

    def __init__(self, console: Console, record: Record, *, every: int, ask_at: int) -> None:
        super().__init__(console)
        self._record, self._every, self._ask_at = record, every, ask_at
        self._asking = threading.Thread(target=self._ask, daemon=True)
        self.status_seconds: list[float] = []
        self._process = psutil.Process()
        self._began = time.monotonic()
        self.notes: list[tuple[int, float, float]] = []
        """(trials handed out, seconds, megabytes)."""

    def tick(self) -> None:
        """Called about ten times a second."""
        super().tick()
        count = len(self._record.state.trials)
        if count >= (self.notes[-1][0] + self._every if self.notes else 1):
            self.note(count)
        if count >= self._ask_at and self._asking.ident is None:
            self._asking.start()

    def _ask(self) -> None:
        """Three times, as a person would; the best of them counts, since the machine is full."""
        command = [str(Path(sys.executable).with_name("cov-study")), "status", str(self._record.directory), "--json"]
        for _ in range(3):
            began = time.monotonic()
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            self.status_seconds.append(time.monotonic() - began)
            assert json.loads(told)["state"] == "running"

    def note(self, count: int) -> None:
        """Notes it now, and prints it."""
        now, megabytes = time.monotonic() - self._began, self._process.memory_info().rss / 1e6
        self.notes.append((count, now, megabytes))
        print(f"{count:6d} trials  {now:7.1f} s  driver {megabytes:6.0f} MB", flush=True)


def main() -> None:
    """Runs the plan and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=2, help="of each node, whatever the machine has")
    parser.add_argument("--sampler", default="tpe")
    chosen = parser.parse_args()
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    config = study(chosen.trials, chosen.sampler)
    one = {"num_cpus": chosen.cpus, "num_gpus": 0, "object_store_memory": 100_000_000}
    nodes = Cluster(initialize_head=True, head_node_args=one | {"include_dashboard": False})
    try:
        for _ in range(chosen.nodes - 1):
            nodes.add_node(**one)
        nodes.wait_for_nodes(timeout=60)
        with tempfile.TemporaryDirectory(prefix="engine-") as folder:
            run(config, nodes.address, Path(folder))
    finally:
        nodes.shutdown()


def run(config: StudyConfig, address: str, directory: Path) -> None:
    """Runs the study's trials on the cluster at `address`."""
    code = code_in_use()
    with stop_signals(print) as stop, Record(directory) as record, cluster(config.resources, address) as resources:
        check_storage(directory)
        info = {"objective": f"val/{config.objective}", "goal": GOALS[config.objective], "terms": list(config.terms)}
        told = {"name": config.name, "config": config.model_dump(mode="json"), "arms": [], "cohort": {}}
        record.append(StudyBegun(document=told | info))
        record.append(DriverStarted(pid=os.getpid(), workers=resources.workers))
        plan = make_plan(config, make_arms(config), GOALS, storage=directory / "optuna")
        engine = Engine(config=config, resources=resources, is_shared=True, code=code, components={})
        with (directory / "progress.txt").open("w") as lines:
            ask_at = int(0.9 * (plan.num_trials or 0))
            watch = Watch(Console(file=lines), record, every=100, ask_at=ask_at)
            drive(record, plan, engine, tiny_cohort(), stop=stop, watcher=watch)
        watch.note(len(record.state.trials))
        write_ledger(record.state, directory)
    tell(record.state, watch, resources.workers)


def tell(state: StudyState, watch: Watch, num_workers: int) -> None:
    """Prints the figures beside their bars."""
    attempts = [attempt for trial in state.trials.values() for attempt in trial.attempts]
    assert all(attempt.state == "complete" for attempt in attempts), "a trial failed"
    own = [sum(cost_of(attempt, f"{part}_seconds") or 0 for part in ("setup", "train", "eval")) for attempt in attempts]
    first, last = min(a.started for a in attempts), max(a.ended or 0 for a in attempts)
    overhead = ((last - first) - sum(own) / num_workers) / len(attempts)
    first_note, settled, last_note = watch.notes[0], watch.notes[min(1, len(watch.notes) - 1)], watch.notes[-1]
    print(
        f"\n{len(attempts)} trials on {num_workers} workers ({usable_cpus()} real CPUs) in {last - first:.0f} s, "
        f"{1000 * float(np.median(own)):.0f} ms each in their own process (median)\n"
        f"overhead a trial: {overhead:.3f} s (bar 0.15 s)\n"
        f"driver's growth: {last_note[2] - first_note[2]:.0f} MB from trial {first_note[0]} on, "
        f"{last_note[2] - settled[2]:.0f} MB from trial {settled[0]} on (bar 200 MB)\n"
        f"status beside it: {' '.join(f'{seconds:.2f}' for seconds in watch.status_seconds)} s (bar 1 s)"
    )


if __name__ == "__main__":
    main()
