"""How soon the command answers, and how soon a study with a prepared cohort trains."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from study.engine.images import obtain
from study.record.ledger import cost_of
from study.record.record import load_state
from study.settings.reading import load_config, validate
from tests.benchmarks.bench_sweep import simulated
from tests.benchmarks.table import Row, milliseconds, race
from tests.record.plain import read_plain

COMMAND = Path(sys.executable).with_name("cov-study")


def rows(quick: bool) -> Iterator[Row]:
    """The help, then the first training step of the demo."""
    yield _help(num_rounds=3 if quick else 9)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yield _first_step(Path(name), num_runs=1 if quick else 3)


def _help(num_rounds: int) -> Row:
    seconds = race(
        {
            "help": lambda: subprocess.run([COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL),
            "python": lambda: subprocess.run([sys.executable, "-c", "import typer.testing"], check=True),
        },
        num_rounds,
        clock=time.perf_counter,
    )
    return Row(
        what="start: `cov-study --help`",
        value=milliseconds(seconds, "help") / 1e3,
        unit="s",
        at_most=0.4,
        detail=f"of it {milliseconds(seconds, 'python'):.0f} ms Python and typer's own imports",
    )


def _first_step(folder: Path, num_runs: int) -> Row:
    """From `cov-study run` to the first training step: median of some runs, each with its parts."""
    values = load_config(preset="demo").model_dump(mode="json") | {
        "cohort": simulated(small=num_runs == 1),
        "arms": {"cov": {}, "equal": {}},
    }
    values["training"] |= {"epochs": 1, "steps_per_epoch": 2}
    config = validate(values, "bench_start")
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    obtain(config.cohort, folder / "cohorts")
    runs = sorted(
        (_run(path, folder / f"run-{number}") for number in range(num_runs)), key=lambda parts: sum(parts.values())
    )
    parts = runs[len(runs) // 2]
    return Row(
        what="start: `cov-study run` to the first training step, cohort prepared",
        value=sum(parts.values()),
        unit="s",
        at_most=8,
        detail=", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts.items()),
        figures=parts,
    )


def _run(config: Path, directory: Path) -> dict[str, float]:
    """Seconds of each part of one start, by the clock that the journal has its times from."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{directory}.db"}
    began = time.time()
    command = [COMMAND, "run", config, "--out", directory]
    subprocess.run(command, env=environment, cwd=directory.parent, check=True, capture_output=True)
    times = {event["event"]: event["time"] for event in reversed(list(read_plain(directory / "journal.jsonl")))}
    attempts = (trial.attempts[0] for trial in load_state(directory).trials.values())
    first = min(attempts, key=lambda attempt: attempt.started + (cost_of(attempt, "setup_seconds") or 0.0))
    return {
        "imports, cohort and Ray": times["study"] - began,
        "to the first trial": times["trial"] - times["study"],
        "to its process": first.started_time - times["trial"],
        "its set-up": cost_of(first, "setup_seconds") or 0.0,
    }
