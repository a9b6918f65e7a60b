"""How fast the MLflow mirror is, how much memory it takes, and whether a study feels it.

    python -m tests.benchmarks.bench_mirror throughput --store sqlite [--trials 1000] [--epochs 50]
    python -m tests.benchmarks.bench_mirror throughput --store postgresql
    python -m tests.benchmarks.bench_mirror epochs [--rounds 12]

`throughput` replays a journal of trials x epochs x 15 metrics into an empty store, with `sync`, and compares with one
call per metric. `epochs` times epochs of a small network that trains in a process of its own, as trials do, while the
driver's process writes the journal and mirrors it: with the server up, down and answering 500 ms late, each paired
with epochs without a mirror.
"""

import argparse
import logging
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from study.record.journal import Journal, read_events
from study.record.record import Record
from study.tracking.mirror import Mirror, sync
from study.tracking.settings import TrackingSettings, load_settings
from tests.benchmarks.table import Row
from tests.record.plain import append
from tests.tracking.conftest import free_port, serving
from tests.tracking.postgres import postgresql
from tests.tracking.proxy import slowed

TERMS = ("l1", "ssim", "gradient", "frequency")
NUM_METRICS = 15
"""Points an epoch: 3 validation metrics, 4 losses, 4 weights, the learning rate and 3 costs."""
NUM_PARALLEL = 8


# --- journals -----------------------------------------------------------------------------------------------------


def begin(journal: Journal | Record) -> None:
    """The study of a benchmark: one search."""
    arms = [{"name": "tuned", "role": "tuned"}]
    nothing = {"cohort": {}, "versions": {}, "hardware": {}, "git_revision": None, "config": {}}
    append(journal, "study", name="bench", objective="val/psnr", goal="max", terms=list(TERMS), arms=arms, **nothing)
    append(journal, "driver_started", pid=1, workers=NUM_PARALLEL)


def start_trial(journal: Journal | Record, key: str, number: int, now: float) -> None:
    """A trial is handed out and begins."""
    weights = [1 / len(TERMS)] * len(TERMS)
    append(journal, "trial", trial=key, arm="tuned", role="search", seed=0, replicate=0, number=number,
                   params={f"log_ratio/{term}": random.random() for term in TERMS[1:]},
                   weighting={"name": "fixed", "weights": weights}, terms=list(TERMS))  # fmt: skip
    append(journal, "attempt_started", trial=key, attempt=1, started=now, share=1.0)


def measure(journal: Journal | Record, key: str, epoch: int, held_seconds: float) -> None:
    """One epoch's measurement: 15 values."""
    metrics = {"val/psnr": 20 + random.random(), "val/ssim": random.random(), "val/rmse": random.random(), "lr": 1e-3}
    metrics |= {f"loss/{term}": random.random() for term in TERMS}
    append(journal, "measurement", trial=key, attempt=1, epoch=epoch, step=100 * epoch, metrics=metrics,
                   weights=dict.fromkeys(TERMS, 0.25),
                   cost={"device_seconds": held_seconds, "train_seconds": held_seconds, "peak_bytes": 10**9},
                   device={"name": "cpu", "uuid": None, "node": "here"})  # fmt: skip


def write_journal(directory: Path, num_trials: int, num_epochs: int) -> None:
    """A finished search, `NUM_PARALLEL` trials at a time."""
    clock = [1_767_225_600.0]
    with Journal(directory / "journal.jsonl", clock=lambda: clock[0], timer=lambda: clock[0]) as journal:
        begin(journal)
        for first in range(0, num_trials, NUM_PARALLEL):
            keys = {f"tuned-r0-t{n:04d}": n for n in range(first, min(first + NUM_PARALLEL, num_trials))}
            for key, number in keys.items():
                start_trial(journal, key, number, clock[0])
            for epoch in range(1, num_epochs + 1):
                clock[0] += 10
                for key in keys:
                    measure(journal, key, epoch, 10.0 * epoch)
            for key in keys:
                append(journal, "attempt_ended", trial=key, state="complete", ended=clock[0])
        append(journal, "finished")


# --- throughput ---------------------------------------------------------------------------------------------------


def throughput(store: str, num_trials: int, num_epochs: int, num_calls: int = 1500) -> dict[str, float]:
    """Points per second of the mirror and of one call per metric, memory, and what a second replay takes."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory_folder())))
        write_journal(directory, num_trials, num_epochs)
        uri = f"sqlite:///{folder}/mlflow.db" if store == "sqlite" else stack.enter_context(postgresql())
        settings = load_settings(environ={"MLFLOW_TRACKING_URI": uri})
        single = _one_call_per_metric(settings, num_calls)  # also imports MLflow and makes the tables
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        start = time.perf_counter()
        counts = sync(directory, settings)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        start = time.perf_counter()
        again = sync(directory, settings)
        return {
            "points": counts["points"],
            "seconds": seconds,
            "points_per_second": counts["points"] / seconds,
            "single_points_per_second": single,
            "peak_megabytes": peak,
            "mirror_megabytes": peak - before,
            "replay_seconds": time.perf_counter() - start,
            "runs_made_again": again["created"],
        }


def memory_folder() -> str | None:
    """A folder in memory, where there is one: a journal syncs every line."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def print_throughput(store: str, num_trials: int, num_epochs: int) -> None:
    """The figures of `throughput` in words."""
    found = throughput(store, num_trials, num_epochs)
    faster = found["points_per_second"] / found["single_points_per_second"]
    print(f"{store}: {num_trials} trials x {num_epochs} epochs x {NUM_METRICS} metrics")
    print(
        f"  mirror           {found['points']} points in {found['seconds']:.1f} s: {found['points_per_second']:.0f}/s"
    )
    print(f"  call per metric  {found['single_points_per_second']:.0f}/s; the mirror is {faster:.0f} times as fast")
    print(
        f"  peak memory      {found['peak_megabytes']:.0f} MB, {found['mirror_megabytes']:.0f} MB of it by the mirror"
    )
    print(f"  replay           {found['replay_seconds']:.1f} s, {found['runs_made_again']} runs made")


def _one_call_per_metric(settings: TrackingSettings, num_calls: int) -> float:
    """Points per second when every metric is a call of its own, as with Ray's MLflow callback."""
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    client = MlflowClient(settings.uri)
    run = client.create_run(client.create_experiment("one call per metric")).info.run_id
    start = time.perf_counter()
    for n in range(num_calls):
        client.log_metric(run, f"m{n % NUM_METRICS}", random.random(), n, n // NUM_METRICS)
    return num_calls / (time.perf_counter() - start)


# --- rows of the table --------------------------------------------------------------------------------------------


def rows(quick: bool) -> Iterator[Row]:
    """The mirror beside one call per metric."""
    found = throughput("sqlite", *((40, 10, 150) if quick else (400, 50, 1500)))
    yield Row(
        what="mirror: points a second into SQLite / one call per metric",
        value=found["points_per_second"] / found["single_points_per_second"],
        detail=f"{found['points_per_second']:.0f} / {found['single_points_per_second']:.0f} points a second",
        figures=found,
    )


def share_rows(what: str, directory: Path, wall_seconds: float) -> Iterator[Row]:
    """What journal and mirror take of a finished study's wall-clock time: both are done once more, and timed."""
    events = list(read_events(directory / "journal.jsonl"))
    with tempfile.TemporaryDirectory(dir=directory.parent) as name:  # on the same disk
        folder = Path(name)
        start = time.perf_counter()
        with Journal(folder / "journal.jsonl") as journal:
            for stamped in events:
                journal.append(stamped.event)
        seconds = time.perf_counter() - start
        settings = load_settings(environ={"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"})
        _one_call_per_metric(settings, num_calls=1)  # imports MLflow and makes the tables
        cpu = time.process_time()
        sync(directory, settings)
        mirror_seconds = time.process_time() - cpu
    yield Row(
        what=f"journal: writing and syncing it / wall-clock of {what}",
        value=100 * seconds / wall_seconds,
        unit="%",
        at_most=0.5,
        detail=f"{len(events)} events, {len(events) / seconds:.0f} a second",
        figures={"events": len(events), "seconds": seconds, "wall_seconds": wall_seconds},
    )
    yield Row(
        what=f"mirror: its CPU time on a thread of its own / wall-clock of {what}",
        value=100 * mirror_seconds / wall_seconds,
        unit="%",
        at_most=0.5,
        detail=f"{mirror_seconds:.2f} s, MLflow's import and tables not counted",
        figures={"seconds": mirror_seconds, "wall_seconds": wall_seconds},
    )


# --- epochs -------------------------------------------------------------------------------------------------------


def bench_epochs(num_rounds: int, num_epochs: int = 10) -> None:
    """Prints the difference of epoch time with a mirror, in the states a server can be in."""
    here, there = multiprocessing.Pipe()
    worker = multiprocessing.get_context("spawn").Process(target=_train, args=(there,), daemon=True)
    worker.start()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(serving(folder))
        late = stack.enter_context(slowed(server.uri, 0.5))
        uris = {"up": server.uri, "500 ms late": late, "down": f"http://127.0.0.1:{free_port()}"}
        differences: dict[str, list[float]] = {name: [] for name in uris}
        with _trial(folder / "warm", uris["up"]) as tell:  # imports MLflow
            _time_epochs(here, tell, num_epochs)
        alone: list[float] = []
        for number in range(num_rounds):
            for name, uri in random.sample(sorted(uris.items()), len(uris)):
                directory = folder / f"{number}-{name.replace(' ', '-')}"
                pair: dict[bool, float] = {}
                for mirrored in random.sample([True, False], 2):
                    with _trial(directory / str(mirrored), uri if mirrored else None) as tell:
                        pair[mirrored] = _time_epochs(here, tell, num_epochs)
                alone.append(pair[False])
                differences[name].append(pair[True] - pair[False])
    here.send(0)
    noise = statistics.stdev(alone)
    print(f"epoch without a mirror: {1000 * statistics.median(alone):.1f} ms, sd {1000 * noise:.1f} ms between blocks")
    for name, found in differences.items():
        low, high = _interval(found)
        mean = statistics.mean(found)
        print(f"  server {name:<12} {1000 * mean:+.1f} ms [{1000 * low:+.1f}, {1000 * high:+.1f}] (95 %)")


def _train(pipe: Connection) -> None:
    """Trains as many epochs as it is told, again and again, and sends the seconds of each; 0 ends it."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))
    optimiser = torch.optim.Adam(network.parameters())
    images = torch.rand(8, 1, 64, 64)
    while num_epochs := pipe.recv():
        for _ in range(num_epochs):
            start = time.perf_counter()
            for _ in range(20):
                optimiser.zero_grad()
                (network(images) - images).abs().mean().backward()
                optimiser.step()
            pipe.send(time.perf_counter() - start)


@contextmanager
def _trial(directory: Path, uri: str | None) -> Iterator[Callable[[int], None]]:
    """A study with one trial; gives what to call after each epoch. Without a URI it has no mirror."""
    directory.mkdir(parents=True)
    with Record(directory) as record:
        mirror = None
        if uri:
            settings = load_settings(environ={"MLFLOW_TRACKING_URI": uri})
            mirror = Mirror(settings, directory, say=lambda line: None, start_seconds=0)
            record.subscribe(mirror)
        begin(record)
        start_trial(record, "tuned-r0-t0000", 0, time.time())
        yield lambda epoch: measure(record, "tuned-r0-t0000", epoch, float(epoch))
        if mirror:
            mirror.close()


def _time_epochs(worker: Connection, tell: Callable[[int], None], number: int) -> float:
    """Mean seconds of an epoch of the worker, whose measurements go to the journal."""
    seconds = []
    worker.send(number)
    for epoch in range(1, number + 1):
        seconds.append(worker.recv())
        tell(epoch)
    return statistics.mean(seconds)


def _interval(values: list[float], num_samples: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean."""
    random.seed(0)
    means = sorted(statistics.mean(random.choices(values, k=len(values))) for _ in range(num_samples))
    return means[int(0.025 * num_samples)], means[int(0.975 * num_samples)]


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["throughput", "epochs"])
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    random.seed(0)
    if options.what == "throughput":
        print_throughput(options.store, options.trials, options.epochs)
    else:
        bench_epochs(options.rounds)


if __name__ == "__main__":
    main()
