"""What is written while trials run, without Ray."""

import threading
from functools import partial

import pytest

from study.journal import Journal, apply, read_events
from study.recorder import HEARTBEAT_SECONDS, Recorder
from study.run import make_plan
from study.state import StudyState
from tests.study.walk import config


@pytest.mark.parametrize("step", [-3600.0, 0.0, 3600.0])
def test_a_running_study_shows_life_as_often_as_ever_when_the_clock_is_set(tmp_path, step):
    now = {"time": 1_800_000_000.0, "seconds": 0.0}
    state = StudyState()
    with Journal(tmp_path / "journal.jsonl", clock=lambda: now["time"], timer=lambda: now["seconds"]) as journal:
        journal.listeners.append(partial(apply, state))
        recorder = Recorder(
            journal, state, make_plan(config(), None), tmp_path, share=1, max_retries=0, take_back=print,
            interrupted=threading.Event(), tick=lambda: None, clock=lambda: now["time"],
        )  # fmt: skip
        trial = {"arm": "cov", "role": "single", "seed": 1, "replicate": None, "number": None, "params": {}}
        journal.append("trial", trial="cov-s1", **trial, weighting={}, terms=["l1"])
        recorder._start("cov-s1")
        for second in range(60):
            now["seconds"] += 1
            now["time"] += 1 + (step if second == 20 else 0)
            recorder.on_step_end(0, [])
    beats = [event["clock"] for event in read_events(tmp_path / "journal.jsonl") if event["event"] == "heartbeat"]
    assert beats == [HEARTBEAT_SECONDS + 1 + 6 * n for n in range(10)]
    assert state.trials["cov-s1"].device_seconds == beats[-1]
