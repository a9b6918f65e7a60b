"""What is written while trials run, without Ray."""

import threading

import pytest

from study.engine.recorder import HEARTBEAT_SECONDS, Recorder
from study.record.record import Record
from tests.planning.walk import config, make_plan
from tests.record.plain import append, read_plain


@pytest.mark.parametrize("step", [-3600.0, 0.0, 3600.0])
def test_a_running_study_shows_life_as_often_as_ever_when_the_clock_is_set(tmp_path, step):
    now = {"time": 1_800_000_000.0, "seconds": 0.0}
    with Record(tmp_path, clock=lambda: now["time"], timer=lambda: now["seconds"]) as record:
        recorder = Recorder(
            record, make_plan(config()), share=1, max_retries=0, digest="", take_back=print,
            interrupted=threading.Event(), tick=lambda: None, clock=lambda: now["time"],
        )  # fmt: skip
        trial = {"arm": "cov", "role": "single", "seed": 1, "replicate": None, "number": None, "params": {}}
        append(record, "trial", trial="cov-s1", **trial, weighting={}, terms=["l1"])
        recorder._start("cov-s1")
        for second in range(60):
            now["seconds"] += 1
            now["time"] += 1 + (step if second == 20 else 0)
            recorder.on_step_end(0, [])
    beats = [event["clock"] for event in read_plain(tmp_path / "journal.jsonl") if event["event"] == "heartbeat"]
    assert beats == [HEARTBEAT_SECONDS + 1 + 6 * n for n in range(10)]
    assert record.state.trials["cov-s1"].device_seconds == beats[-1]
