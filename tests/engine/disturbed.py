"""A study that is disturbed while it runs, and one that is not, to compare it with."""

import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

from study.record.journal import JournalError
from study.record.record import load_state
from study.record.state import StudyState
from tests.record.plain import read_plain
from tests.waiting import PATIENCE_SECONDS, wait_for

QUIET = "tracking: {mirror: none}\n"  # MLflow has tests of its own
ARMS = """{
  equal: {},
  tuned: {budget: {trials: 3}},
  tuned-asha: {budget: {trials: 4}, parallel: 2, sampler: random, pruner: {reduction: 2}},
  cov: {},
}"""
RUN = (
    "run", "--preset", "smoke", "--out", "study", "-o", f"arms={ARMS}",
    "-o", "training.epochs=4", "-o", "training.steps_per_epoch=60",
)  # fmt: skip


def measured(state: StudyState) -> dict:
    """Every number of a study that does not tell time."""
    return {
        key: (
            trial.state,
            trial.params,
            trial.scores,
            [(m.epoch, m.metrics, m.weights) for m in trial.measurements],
        )
        for key, trial in state.trials.items()
    }


def assert_same(folder: Path, undisturbed: StudyState) -> StudyState:
    state = load_state(folder / "study")
    assert state.finished
    assert measured(state) == measured(undisturbed)
    assert state.baselines == undisturbed.baselines
    ended = [e for e in read_plain(folder / "study" / "journal.jsonl") if e["event"] == "attempt_ended"]
    completed = [event["trial"] for event in ended if event["state"] in ("complete", "pruned")]
    assert sorted(completed) == sorted(state.trials), "a trial came to its end twice, or never"
    return state


def num_events(folder: Path, kind: str) -> int:
    try:
        return sum(event["event"] == kind for event in read_plain(folder / "study" / "journal.jsonl"))
    except JournalError:
        return 0


def num_lines(folder: Path) -> int:
    return (folder / "study" / "journal.jsonl").read_bytes().count(b"\n")


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def trains(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that are in the middle of an epoch, by the name that Ray gives them."""
    found = []
    for child in descendants(process):
        with suppress(psutil.Error):
            if "ray::ResourceTrainable.train" in " ".join(child.cmdline()):
                found.append(child)
    return found


def running(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still do something; a machine whose first process reaps no orphan keeps the names of the dead."""
    found = []
    for process in family:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill_one(process: subprocess.Popen[str]) -> None:
    wait_for(lambda: bool(trains(process)), process)
    trains(process)[0].kill()


def stop(process: subprocess.Popen[str], number: signal.Signals, *, folder: Path) -> None:
    """Sends a signal that asks a study to stop, and sees it stop as it should: resumable, and saying how."""
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, err
    assert "Go on with: cov-study resume study" in err
    assert "Traceback" not in err
    events = list(read_plain(folder / "study" / "journal.jsonl"))
    assert events[-1]["event"] == "driver_stopped"
