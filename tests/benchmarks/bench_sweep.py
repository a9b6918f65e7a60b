"""A search through the engine beside the same search in plain Ray Tune, and where the engine's time goes.

    python -m tests.benchmarks.bench_sweep --seconds 20 --trials 40 [--alone]
    python -m tests.benchmarks.bench_sweep --study runs/demo

The first command is a search of any length, `--alone` without plain Ray Tune; the second tells how well a
finished study used its workers.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import yaml

from study.engine.images import obtain, simulate
from study.engine.timing import time_training
from study.record.ledger import cost_of
from study.record.record import load_state
from study.record.state import Attempt, StudyState
from study.settings.reading import load_config, validate
from study.settings.schema import CohortSection, StudyConfig
from tests.benchmarks.table import Row, show, write
from trainables.cpus import usable_cpus
from trainables.startup import ready_process

EPOCHS = 4

READS = {"files": "reads the images", "arrays": "reads prepared arrays, with our imports"}
"""What a trial of plain Ray Tune does: what the manuals show, and what a hand that knows better would write."""


# --- the search ---------------------------------------------------------------------------------------------------


def make_config(num_trials: int, trial_seconds: float, cache: Path, *, small: bool = False) -> StudyConfig:
    """A search on the demo's cohort, network and terms, its trials as long as asked for on this machine.

    Besides the search there are one training with equal weights and two with CoV, as in a study; and the confirmation.
    """
    demo = load_config(preset="demo").model_dump(mode="json")
    values = demo | {
        "name": "sweep",
        "seeds": [1, 2],
        "cohort": simulated(small=small),
        "arms": {"equal": {}, "tuned": {"budget": {"trials": num_trials - 4}}, "cov": {"seeds": 2}},
        "training": demo["training"] | {"epochs": EPOCHS},
    }
    config = validate(values, "bench_sweep")
    ready_process(1)
    equal = {"name": "fixed", "weights": [1 / len(config.terms)] * len(config.terms)}
    cohort = obtain(config.cohort, cache)
    with busy_processors(usable_cpus() - 1):
        timing = time_training(config, cohort, list(config.terms), equal)
    rest_seconds = timing.trial_seconds - timing.epochs * timing.steps_per_epoch * timing.step_seconds
    num_steps = max(1, round((trial_seconds - rest_seconds) / EPOCHS / timing.step_seconds))
    return validate(values | {"training": values["training"] | {"steps_per_epoch": num_steps}}, "bench_sweep")


@contextmanager
def busy_processors(number: int) -> Iterator[None]:
    """Keeps processors busy: a training that has the machine to itself is faster than one among others."""
    context = multiprocessing.get_context("spawn")
    started = [context.Event() for _ in range(number)]
    others = [context.Process(target=_compute, args=(event,), daemon=True) for event in started]
    for other, event in zip(others, started, strict=True):
        other.start()
        event.wait()
    try:
        yield
    finally:
        for other in others:
            other.terminate()
            other.join()


def _compute(started: Event) -> None:
    import torch

    ready_process(1)
    matrix = torch.rand(1024, 1024)
    started.set()
    while True:
        matrix @ matrix


def simulated(*, small: bool = False) -> dict[str, Any]:
    """The demo's cohort, or a fifth of it, in `runs/cohorts`: there a demo that was run has left it."""
    section = load_config(preset="demo").cohort
    if small:
        split = {"num_train": 10, "num_validation": 2, "num_test": 4}
        virtual = {"num_subjects": 16, "resolution": section.virtual.resolution, **split}
        section = CohortSection.model_validate({"virtual": virtual, "prepare": split})
    path = simulate(section, Path("runs/cohorts").absolute(), say=lambda line: None)
    return {"path": str(path), "prepare": section.prepare.model_dump(mode="json")}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a search took."""

    config: StudyConfig
    num_trials: int
    ours_seconds: float
    plain_seconds: dict[str, float]
    """Of plain Ray Tune, by what each of its trials reads: `files` or prepared `arrays`."""
    directory: Path

    @property
    def state(self) -> StudyState:
        """What the engine's journal tells."""
        return load_state(self.directory)


def run_sweep(
    num_trials: int, trial_seconds: float, folder: Path, *, reads: tuple[str, ...] = (), small: bool = False
) -> Sweep:
    """The search through the command and, as often as `reads` says, through plain Ray Tune; each from start to exit."""
    cache = folder / "cohorts"
    config = make_config(num_trials, trial_seconds, cache, small=small)
    ours = folder / f"sweep-{trial_seconds:g}s"
    path = ours.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("cov-study")), "run", str(path), "--out", str(ours)]
    ours_seconds = _timed(command, folder)
    plain_seconds = {}
    for kind in reads:
        settings = {
            "cohort": str(config.cohort.path),
            "prepare": config.cohort.prepare.model_dump(mode="json"),
            "cache": str(cache / "prepared") if kind == "arrays" else None,
            "terms": list(config.terms),
            "training": config.training.model_dump(mode="json"),
            "num_trials": num_trials,
            "storage": str(folder / f"plain-{kind}"),
            "tracking_uri": f"sqlite:///{folder / f'plain-{kind}.db'}",
        }
        written = folder / "plain.json"
        written.write_text(json.dumps(settings), encoding="utf-8")
        plain_seconds[kind] = _timed([sys.executable, "-m", "tests.benchmarks.plain_tune", str(written)], folder)
    return Sweep(
        config=config,
        num_trials=num_trials,
        ours_seconds=ours_seconds,
        plain_seconds=plain_seconds,
        directory=ours,
    )


def _timed(command: list[str], folder: Path) -> float:
    """Wall-clock seconds of a command, which must succeed."""
    root = Path(__file__).parents[2]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "PYTHONPATH": str(root)}
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout)[-2000:]}")
    return seconds


# --- efficiency ---------------------------------------------------------------------------------------------------


def efficiency(state: StudyState) -> dict[str, float]:
    """Where the workers' time went, from the journal: shares of workers x makespan that sum to 1.

    `busy` is training and evaluation; `start-up` the first set-up of each worker, from the moment the first of them
    took its device; `set-up` that of later trials; `gaps` between two trials of a worker; `tail` after its last;
    `inside` what a trial holds its device for besides. `makespan_seconds` is from the first device taken to the last
    given back.
    """
    attempts = sorted((a for t in state.trials.values() for a in t.attempts if a.ended), key=lambda a: a.started)
    lanes = _lanes(attempts)
    first = attempts[0].started
    last = max(attempt.ended or 0.0 for attempt in attempts)
    total = len(lanes) * (last - first)

    def spent(attempt: Attempt, *kinds: str) -> float:
        return sum(cost_of(attempt, f"{kind}_seconds") or 0.0 for kind in kinds)

    held = sum((a.ended or 0.0) - a.started for a in attempts)
    parts = {
        "busy": sum(spent(attempt, "train", "eval") for attempt in attempts),
        "start-up": sum(lane[0].started - first + spent(lane[0], "setup") for lane in lanes),
        "set-up": sum(spent(attempt, "setup") for lane in lanes for attempt in lane[1:]),
        "tail": sum(last - (lane[-1].ended or 0.0) for lane in lanes),
        "inside": held - sum(spent(attempt, "train", "eval", "setup") for attempt in attempts),
    }
    parts["gaps"] = total - sum(parts.values())
    return {name: seconds / total for name, seconds in parts.items()} | {"makespan_seconds": last - first}


def _lanes(attempts: list[Attempt]) -> list[list[Attempt]]:
    """Attempts by worker: each goes to the worker that has been free for the shortest time."""
    lanes: list[list[Attempt]] = []
    for attempt in attempts:
        free = [lane for lane in lanes if (lane[-1].ended or 0.0) <= attempt.started]
        if free:
            max(free, key=lambda lane: lane[-1].ended or 0.0).append(attempt)
        else:
            lanes.append([attempt])
    return lanes


def efficiency_row(what: str, state: StudyState, at_least: float | None = None) -> Row:
    """How busy the workers were, the losses named."""
    shares = efficiency(state)
    losses = ", ".join(
        f"{name} {100 * shares[name]:.1f} %" for name in ("start-up", "set-up", "gaps", "tail", "inside")
    )
    peak_bytes = max(cost_of(a, "peak_bytes") or 0 for trial in state.trials.values() for a in trial.attempts)
    return Row(
        what=f"efficiency: {what}",
        value=shares["busy"],
        unit="",
        at_least=at_least,
        detail=f"{losses} of {shares['makespan_seconds']:.0f} s; a worker held up to {peak_bytes / 1e9:.2f} GB",
        figures=shares | {"peak_bytes": peak_bytes},
    )


# --- rows ---------------------------------------------------------------------------------------------------------


def sweep_rows(sweep: Sweep, trial_seconds: float, goal: float | None, efficiency_goal: float | None) -> Iterator[Row]:
    """Wall-clock against plain Ray Tune, and the engine's efficiency."""
    held = statistics.median(trial.device_seconds for trial in sweep.state.trials.values())
    what = f"{sweep.num_trials} trials of {trial_seconds:g} s"
    for kind, seconds in sweep.plain_seconds.items():
        yield Row(
            what=f"sweep: {what}, plain Ray Tune that {READS[kind]} / ours",
            value=seconds / sweep.ours_seconds,
            at_least=goal if kind == "files" else None,
            detail=f"{seconds:.0f} / {sweep.ours_seconds:.0f} s from start to exit; ours with its report; "
            f"a trial held its CPU for {held:.1f} s",
            figures={"plain_seconds": seconds, "ours_seconds": sweep.ours_seconds, "trial_seconds": held},
        )
    yield efficiency_row(what, sweep.state, efficiency_goal)
    if efficiency_goal is None:
        from tests.benchmarks.bench_mirror import share_rows  # wants pytest, which `--study` does not

        yield from share_rows(what, sweep.directory, sweep.ours_seconds)


def rows(quick: bool) -> Iterator[Row]:
    """Searches of short and of long trials, one of middling ones for the efficiency, and the demo."""
    plans: tuple[tuple[int, float, float | None, float | None, tuple[str, ...]], ...] = (
        (24, 5, 3.0, None, ("files", "arrays")),
        (24, 30, 1.3, None, ("files",)),
        (40, 20, None, 0.97, ()),
    )
    if quick:
        plans = ((6, 2, None, None, ("files",)),)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        for num_trials, seconds, goal, efficiency_goal, reads in plans:
            sweep = run_sweep(num_trials, seconds, folder, reads=reads, small=quick)
            yield from sweep_rows(sweep, seconds, goal, efficiency_goal)
        if not quick:
            out = folder / "demo"
            command = [str(Path(sys.executable).with_name("cov-study")), "run", "--preset", "demo", "--out", str(out)]
            _timed(command, folder)
            yield efficiency_row("the demo", load_state(out), at_least=0.95)


def main() -> None:
    """Prints the rows of one search or of a finished study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, help="a finished study")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--alone", action="store_true", help="without plain Ray Tune")
    parser.add_argument("--json", type=Path, default=Path("runs/bench-sweep.json"), help="where the figures go")
    arguments = parser.parse_args()
    found: list[Row]
    if arguments.study:
        found = [efficiency_row(arguments.study.name, load_state(arguments.study))]
    else:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            reads = () if arguments.alone else tuple(READS)
            sweep = run_sweep(arguments.trials, arguments.seconds, Path(name), reads=reads)
            found = list(sweep_rows(sweep, arguments.seconds, None, None))
    write(arguments.json, found, quick=False)
    show(found)


if __name__ == "__main__":
    main()
