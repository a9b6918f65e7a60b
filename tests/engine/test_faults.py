"""Whatever happens to a study, it can be resumed, ends with the same numbers, and has charged every attempt.

Real processes: the installed command on a real Ray, killed in earnest. COV_STUDY_KILLS sets how often the driver is.
"""

import json
import os
import random
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from study.record.record import load_state
from tests.commands.command import cov_study, start
from tests.engine.disturbed import (
    RUN,
    assert_same,
    descendants,
    kill_one,
    num_events,
    num_lines,
    running,
    stop,
    wait_for,
)
from tests.waiting import PATIENCE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]

NUM_KILLS = int(os.environ.get("COV_STUDY_KILLS", "2"))
EVENTS = 40
"""Written in all the lives of the study that is killed again and again, about: half of what there is to write."""


@pytest.fixture(scope="module")
def killed() -> Iterator[list[psutil.Process]]:
    """Processes of drivers that were killed: none may outlive this module.

    What trains is gone at once; the agents of a Ray node look for their parent about once a minute.
    """
    family: list[psutil.Process] = []
    yield family
    wait_for(lambda: not running(family), what="orphan processes", pause=0.5)


def test_killed_at_random_moments_and_resumed(tmp_path, undisturbed, killed):
    moments = random.Random(7)
    arguments = RUN
    for kill in range(NUM_KILLS + 1):
        process = start(*arguments, folder=tmp_path)
        if kill == NUM_KILLS:
            _, err = process.communicate(timeout=PATIENCE_SECONDS)
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
        killed += descendants(process)
        process.kill()
        process.communicate()
        arguments = ("resume", "study")
    state = assert_same(tmp_path, undisturbed)
    # Lost attempts keep their cost: never less is charged than the attempts that completed took.
    for trial in state.trials.values():
        assert trial.device_seconds >= trial.attempts[-1].device_seconds > 0


def test_ctrl_c_closes_the_journal_and_the_study_goes_on_later(tmp_path, undisturbed):
    process = start(*RUN, folder=tmp_path)
    wait_for(lambda: num_events(tmp_path, "measurement") >= 3, process)
    stop(process, signal.SIGINT, folder=tmp_path)
    assert cov_study("resume", "study", folder=tmp_path).returncode == 0
    assert_same(tmp_path, undisturbed)


def test_a_worker_that_dies_is_replaced_and_both_attempts_are_charged(tmp_path, undisturbed):
    process = start(*RUN, folder=tmp_path)
    for number in (2, 9):
        wait_for(lambda number=number: num_events(tmp_path, "measurement") >= number, process)
        kill_one(process)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, err
    state = assert_same(tmp_path, undisturbed)
    lost = [attempt for trial in state.trials.values() for attempt in trial.attempts if attempt.state == "lost"]
    assert len(lost) == 2
    assert all(attempt.device_seconds > 0 and attempt.reason.startswith("its process died") for attempt in lost)


def test_a_worker_that_may_not_be_replaced_fails_its_trial_and_the_study_goes_on(tmp_path):
    process = start(*RUN, "-o", "training.steps_per_epoch=150", "-o", "resources.max_retries=0", folder=tmp_path)
    wait_for(lambda: num_events(tmp_path, "measurement") >= 2, process)
    kill_one(process)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 3, err
    assert "1 trial(s) failed" in err
    state = load_state(tmp_path / "study")
    (failed,) = [trial for trial in state.trials.values() if trial.state == "failed"]
    assert failed.device_seconds > 0
    assert state.finished


def test_a_training_that_diverges_fails_visibly_is_charged_and_the_study_goes_on(tmp_path):
    arms = "arms={equal: {}, tuned: {budget: {trials: 2}}}"
    done = cov_study(*RUN, "-o", arms, "-o", "training.learning_rate=1.0e30", folder=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "failed, for example tuned-r0-t000: TrainingDiverged: epoch 1: loss" in done.stderr
    state = load_state(tmp_path / "study")
    assert state.finished
    assert {trial.state for trial in state.trials.values()} == {"failed"}
    assert all(trial.device_seconds > 0 for trial in state.trials.values())
    assert state.searches["tuned", 0].incumbent is None
    assert (tmp_path / "study" / "report" / "index.html").exists()


def test_two_drivers_cannot_run_one_study_and_status_answers_beside_it(tmp_path):
    process = start(*RUN, "-o", "training.steps_per_epoch=1000", folder=tmp_path)
    wait_for(lambda: num_events(tmp_path, "measurement") >= 1, process)
    second = cov_study("resume", "study", folder=tmp_path)
    assert second.returncode == 1
    assert "another cov-study is running this study" in second.stderr
    status = json.loads(cov_study("status", "study", "--json", folder=tmp_path).stdout)
    assert status["state"] == "running"
    stop(process, signal.SIGUSR1, folder=tmp_path)  # as SLURM announces a preemption
