"""Whatever happens to a study, it can be resumed, ends with the same numbers, and has charged every attempt.

Real processes: the installed command on a real Ray, killed in earnest. COV_STUDY_KILLS sets how often the driver is.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from study.journal import JournalError, load_state, read_events
from study.state import StudyState
from tests.study.command import cov_study, start

pytestmark = pytest.mark.slow

NUM_KILLS = int(os.environ.get("COV_STUDY_KILLS", "3"))
EVENTS = 40
"""Written in all the lives of the study that is killed again and again, about: half of what there is to write."""
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


@pytest.fixture(autouse=True)
def quiet(tmp_path):
    (tmp_path / "mlflow.yml").write_text(QUIET)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> StudyState:
    """What the study measures when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "mlflow.yml").write_text(QUIET)
    done = cov_study(*RUN, folder=folder)
    assert done.returncode == 0, done.stderr
    state = load_state(folder / "study")
    pruned = [trial for trial in state.trials.values() if trial.state == "pruned"]
    assert pruned, "a trial that falls behind is part of what must not change"
    assert all(trial.scores is None and 0 < len(trial.measurements) < 4 for trial in pruned)
    return state


def measured(state: StudyState) -> dict:
    """Every number of a study that does not tell time."""
    return {
        key: (
            trial.state,
            trial.params,
            trial.scores,
            [(m["epoch"], m["metrics"], m["weights"]) for m in trial.measurements],
        )
        for key, trial in state.trials.items()
    }


def assert_same(folder: Path, undisturbed: StudyState) -> StudyState:
    state = load_state(folder / "study")
    assert state.finished
    assert measured(state) == measured(undisturbed)
    assert state.baselines == undisturbed.baselines
    ended = [e for e in read_events(folder / "study" / "journal.jsonl") if e["event"] == "attempt_ended"]
    completed = [event["trial"] for event in ended if event["state"] in ("complete", "pruned")]
    assert sorted(completed) == sorted(state.trials), "a trial came to its end twice, or never"
    return state


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def num_events(folder: Path, kind: str) -> int:
    try:
        return sum(event["event"] == kind for event in read_events(folder / "study" / "journal.jsonl"))
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


def test_killed_at_random_moments_and_resumed(tmp_path, undisturbed):
    moments = random.Random(7)
    arguments, family = RUN, []
    for kill in range(NUM_KILLS + 1):
        process = start(*arguments, folder=tmp_path)
        if kill == NUM_KILLS:
            _, err = process.communicate(timeout=180)
            assert process.returncode == 0, err
            break
        before = num_events(tmp_path, "driver_started")
        wait_for(lambda before=before: num_events(tmp_path, "driver_started") > before, process)
        # By events, so that every life brings the study on; then a little later, to be in the middle of something.
        enough = num_lines(tmp_path) + moments.randrange(2 * EVENTS // NUM_KILLS)
        while num_lines(tmp_path) < enough and process.poll() is None:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 1))
        assert process.poll() is None, "it was done before it was killed often enough"
        family += descendants(process)
        process.kill()
        process.communicate()
        arguments = ("resume", "study")
    state = assert_same(tmp_path, undisturbed)
    # Lost attempts keep their cost: never less is charged than the attempts that completed took.
    for trial in state.trials.values():
        assert trial.device_seconds >= trial.attempts[-1].device_seconds > 0
    # What trains is gone at once; the agents of a Ray node look for their parent about once a minute.
    deadline = time.monotonic() + 120
    while running(family) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not running(family), "orphan processes"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda n: n.name)
def test_a_signal_closes_the_journal_and_the_study_goes_on_later(tmp_path, undisturbed, number):
    process = start(*RUN, folder=tmp_path)
    wait_for(lambda: num_events(tmp_path, "measurement") >= 3, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Go on with: cov-study resume study" in err
    assert "Traceback" not in err
    events = list(read_events(tmp_path / "study" / "journal.jsonl"))
    assert events[-1]["event"] == "driver_stopped"
    if number == signal.SIGINT:  # what is left behind is the same for all three
        assert cov_study("resume", "study", folder=tmp_path).returncode == 0
        assert_same(tmp_path, undisturbed)


def test_a_worker_that_dies_is_replaced_and_both_attempts_are_charged(tmp_path, undisturbed):
    process = start(*RUN, folder=tmp_path)
    for number in (2, 9):
        wait_for(lambda number=number: num_events(tmp_path, "measurement") >= number, process)
        kill_one(process)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    state = assert_same(tmp_path, undisturbed)
    lost = [attempt for trial in state.trials.values() for attempt in trial.attempts if attempt.state == "lost"]
    assert len(lost) == 2
    assert all(attempt.device_seconds > 0 and attempt.reason.startswith("its process died") for attempt in lost)


def test_a_worker_that_may_not_be_replaced_fails_its_trial_and_the_study_goes_on(tmp_path):
    process = start(*RUN, "-o", "training.steps_per_epoch=300", "-o", "resources.max_retries=0", folder=tmp_path)
    wait_for(lambda: num_events(tmp_path, "measurement") >= 2, process)
    kill_one(process)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 3, err
    assert "1 trial(s) failed" in err
    state = load_state(tmp_path / "study")
    (failed,) = [trial for trial in state.trials.values() if trial.state == "failed"]
    assert failed.device_seconds > 0
    assert state.finished


def test_a_training_that_diverges_fails_visibly_is_charged_and_the_study_goes_on(tmp_path):
    done = cov_study(*RUN, "-o", "training.learning_rate=1.0e30", folder=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "failed, for example tuned-r0-t000: TrainingDiverged: epoch 1: loss" in done.stderr
    state = load_state(tmp_path / "study")
    assert state.finished
    assert {trial.state for trial in state.trials.values()} == {"failed"}
    assert all(trial.device_seconds > 0 for trial in state.trials.values())
    assert state.searches["tuned", 0].incumbent is None
    assert (tmp_path / "study" / "report" / "index.html").exists()


def test_damaged_checkpoints_and_a_torn_journal_lose_nothing(tmp_path, undisturbed):
    process = start(*RUN, folder=tmp_path)
    wait_for(lambda: num_events(tmp_path, "measurement") >= 6, process)
    process.kill()
    process.communicate()
    for path in (tmp_path / "study" / "checkpoints").rglob("state.pt"):
        path.write_bytes(path.read_bytes()[:100])
    journal = tmp_path / "study" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    assert cov_study("resume", "study", folder=tmp_path).returncode == 0
    assert_same(tmp_path, undisturbed)


def test_damage_inside_the_journal_is_told_and_nothing_is_trained(tmp_path):
    process = start(*RUN, folder=tmp_path)
    wait_for(lambda: num_events(tmp_path, "measurement") >= 2, process)
    process.kill()
    process.communicate()
    journal = tmp_path / "study" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"trial", b"trail", 1)
    journal.write_bytes(b"".join(lines))
    done = cov_study("resume", "study", folder=tmp_path)
    assert done.returncode == 1
    assert "journal.jsonl, line 3: damaged" in done.stderr
    assert journal.read_bytes() == b"".join(lines)


def test_two_drivers_cannot_run_one_study_and_status_answers_beside_it(tmp_path):
    process = start(*RUN, folder=tmp_path)
    wait_for(lambda: num_events(tmp_path, "measurement") >= 1, process)
    second = cov_study("resume", "study", folder=tmp_path)
    assert second.returncode == 1
    assert "another cov-study is running this study" in second.stderr
    status = json.loads(cov_study("status", "study", "--json", folder=tmp_path).stdout)
    assert status["state"] == "running"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB, mounted where the study goes."""
    place = tmp_path / "study"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(path: Path) -> None:
    """Writes until the disk is full."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


@needs_mount
def test_a_full_disk_stops_the_study_and_it_goes_on_once_there_is_room(tmp_path, small_disk, undisturbed):
    process = start(*RUN, folder=tmp_path)
    wait_for(lambda: num_events(tmp_path, "measurement") >= 3, process)
    filler = small_disk / "filler"
    fill(filler)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 1, err
    assert "No space left on device" in err
    assert "cov-study resume study" in err
    assert "Traceback" not in err
    filler.unlink()
    done = cov_study("resume", "study", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, undisturbed)


@needs_mount
def test_a_read_only_folder_is_told_before_anything_is_done(tmp_path, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = cov_study(*RUN, folder=tmp_path)
    assert done.returncode == 1
    assert "study: cannot be written (Read-only file system)" in done.stderr


def test_the_same_numbers_whatever_the_workers_and_with_fresh_processes(tmp_path, undisturbed):
    done = cov_study(
        *RUN, "-o", "resources.workers=1", "-o", "resources.reuse_actors=false", folder=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, undisturbed)
