"""The mirror against a real SQLite store: complete, idempotent, resumable, and never in the way."""

import json
import logging
import shutil
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from study.record.events import DriverStarted, Heartbeat, Measured
from study.record.journal import Journal, Stamped, read_events
from study.record.record import Record, load_state
from study.tracking.mirror import Mirror, sync
from study.tracking.settings import TrackingSettings, load_settings
from tests.tracking.conftest import contents, free_port, replay_into
from tests.waiting import PATIENCE_SECONDS
from trainables.errors import UserError

HEARTBEAT = Stamped(number=0, time=0.0, event=Heartbeat())


def rows(settings: TrackingSettings) -> dict[str, list[Any]]:
    """Every row of the tables that a mirror writes, but for how far it has come."""
    with sqlite3.connect(settings.uri.removeprefix("sqlite:///")) as database:
        return {
            table: sorted(database.execute(f"select * from {table}").fetchall(), key=repr)
            for table in ("experiments", "experiment_tags", "runs", "metrics", "latest_metrics", "params", "tags")
        }


def unreachable() -> TrackingSettings:
    """A server that refuses; there is a password in its address."""
    return load_settings(environ={"MLFLOW_TRACKING_URI": f"http://anna:geheim@127.0.0.1:{free_port()}"})


def test_runs_are_nested_study_arm_trial(expected: dict[str, Any], study: Path) -> None:
    state = load_state(study)
    levels = Counter(run["tags"]["level"] for run in expected.values())
    assert levels == {"study": 1, "arm": 3, "trial": len(state.trials)}
    for key, run in expected.items():
        assert run["parent"] == (key.rpartition("/")[0] or None)
    status = {key.rpartition("/")[2]: run["status"] for key, run in expected.items()}
    assert status["tuned-r0-t002"] == "FAILED"
    assert status["tuned-r0-t001"] == status["tuned-r1-t003"] == "FINISHED"
    assert "RUNNING" not in status.values()


def test_values_are_those_of_the_journal(expected: dict[str, Any], study: Path) -> None:
    key = next(key for key in expected if key.endswith("/cov-s1"))
    trial = load_state(study).trials["cov-s1"]
    points = {(name, step): value for name, step, _, value in expected[key]["points"]}
    for measurement in trial.measurements:
        for name, value in measurement.metrics.items():
            assert points[name, measurement.epoch] == value
        for term, weight in measurement.weights.items():
            assert points[f"weight/{term}", measurement.epoch] == weight
    assert points["cost/device_seconds", 3] == pytest.approx(trial.device_seconds)
    psnr = [regions["mask"]["psnr"] for regions in trial.scores.values()]
    assert points["test/psnr", 0] == pytest.approx(statistics.fmean(psnr))
    times = {stamp for name, _, stamp, _ in expected[key]["points"] if name == "val/psnr"}
    events = [s for s in read_events(study / "journal.jsonl") if isinstance(s.event, Measured)]
    assert times == {round(stamped.time * 1000) for stamped in events if stamped.event.trial == "cov-s1"}


def test_three_replays_add_nothing(settings: TrackingSettings, study: Path) -> None:
    counts = [sync(study, settings)]
    before = rows(settings)
    counts += [sync(study, settings) for _ in range(2)]
    assert rows(settings) == before
    assert [c["created"] for c in counts] == [len(before["runs"]), 0, 0]
    assert counts[1]["points"] < counts[0]["points"] / 5, "ended runs are not sent again"


def test_replays_add_nothing_even_where_nothing_tells_what_is_there(settings: TrackingSettings, study: Path) -> None:
    """A mirror that dies between the points and the tag that counts them."""
    sync(study, settings)
    before = rows(settings)
    with sqlite3.connect(settings.uri.removeprefix("sqlite:///")) as database:
        database.execute("delete from tags where key in ('num_points', 'mirrored', 'layout')")
    sync(study, settings)
    assert rows(settings) == before


def test_another_depth_is_written_in_full(settings: TrackingSettings, study: Path, expected: dict[str, Any]) -> None:
    sync(study, settings.model_copy(update={"mirror": "trials"}))
    sync(study, settings)
    found = contents(settings.uri)
    assert {key: run["points"] for key, run in found.items()} == {key: run["points"] for key, run in expected.items()}


def test_the_living_mirror_writes_what_a_sync_writes(
    settings: TrackingSettings, study: Path, tmp_path: Path, expected: dict[str, Any]
) -> None:
    said: list[str] = []
    mirror = Mirror(settings, tmp_path / "study", say=said.append, start_seconds=0)
    replay_into(tmp_path / "study", study, mirror=mirror, pause=lambda n: time.sleep(0.002))
    mirror.close(timeout=PATIENCE_SECONDS)
    assert contents(settings.uri) == expected
    assert said == []
    before = rows(settings)
    sync(tmp_path / "study", settings)
    assert rows(settings) == before


@pytest.mark.parametrize("stop", [30, 60])
def test_a_resumed_study_goes_on_in_its_runs(
    stop: int, settings: TrackingSettings, study: Path, tmp_path: Path, expected: dict[str, Any]
) -> None:
    directory = tmp_path / "study"
    mirror = Mirror(settings, directory, start_seconds=0)
    replay_into(directory, study, mirror=mirror, stop=stop)
    mirror.close(timeout=PATIENCE_SECONDS)
    first = contents(settings.uri)
    assert "RUNNING" in {run["status"] for run in first.values()}
    again = Mirror(settings, directory, start_seconds=0)
    replay_into(directory, study, mirror=again, start=stop)
    again.close(timeout=PATIENCE_SECONDS)
    assert contents(settings.uri) == expected


@pytest.mark.slow
def test_a_process_killed_while_it_mirrors_leaves_nothing_twice(
    settings: TrackingSettings, study: Path, tmp_path: Path, expected: dict[str, Any]
) -> None:
    shutil.copytree(study, tmp_path / "study")
    program = (
        "from pathlib import Path; from study.tracking.mirror import sync;"
        "from study.tracking.settings import load_settings;"
        "sync(Path('study'), load_settings())"
    )
    for num_points in (50, 250, 450):
        with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path) as process:
            while process.poll() is None and len(rows(settings)["metrics"]) < num_points:
                time.sleep(0.01)
            assert process.poll() is None, "it was done before it could be killed"
            process.kill()
    sync(tmp_path / "study", settings)
    assert contents(settings.uri) == expected


def test_orphans_are_closed_and_keep_their_cost(settings: TrackingSettings, study: Path, tmp_path: Path) -> None:
    directory = tmp_path / "study"
    replay_into(directory, study, stop=60)
    running = [trial for trial in load_state(directory).trials.values() if trial.state == "running"]
    assert running, "the journal was cut where nothing ran"
    with Journal(directory / "journal.jsonl"):  # a driver lives
        sync(directory, settings)
        assert {run["status"] for run in contents(settings.uri).values()} >= {"RUNNING"}
    sync(directory, settings)  # it is gone
    found = contents(settings.uri)
    assert "RUNNING" not in {run["status"] for run in found.values()}
    for trial in running:
        run = next(run for key, run in found.items() if key.endswith(f"/{trial.key}"))
        assert (run["status"], run["tags"]["state"]) == ("KILLED", "lost")
        costs = [value for name, _, _, value in run["points"] if name == "cost/device_seconds"]
        assert max(costs) == pytest.approx(trial.device_seconds)


def test_a_driver_that_starts_again_closes_what_the_dead_one_left(
    settings: TrackingSettings, study: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "study"
    mirror = Mirror(settings, directory, start_seconds=0)
    replay_into(directory, study, mirror=mirror, stop=60)
    mirror.close(timeout=PATIENCE_SECONDS)
    lost = [trial.key for trial in load_state(directory).trials.values() if trial.state == "running"]
    again = Mirror(settings, directory, start_seconds=0)
    with Record(directory) as record:
        record.subscribe(again)
        record.append(DriverStarted(pid=2, workers=1))
        again.close(timeout=PATIENCE_SECONDS)
    states = {key.rpartition("/")[2]: run["status"] for key, run in contents(settings.uri).items()}
    assert [states[key] for key in lost] == ["KILLED"] * len(lost)


def test_the_listener_takes_microseconds(tmp_path: Path) -> None:
    mirror = Mirror(unreachable(), tmp_path, say=lambda line: None, start_seconds=60)
    seconds = []
    for _ in range(2000):
        start = time.thread_time()  # a busy machine takes longer by the clock, not by this one
        mirror(HEARTBEAT)
        seconds.append(time.thread_time() - start)
    mirror.close(timeout=0)  # no deadline: it need not write the rest
    assert statistics.median(seconds) < 20e-6


def test_an_unreachable_server_is_said_once_and_nothing_is_raised(study: Path, tmp_path: Path) -> None:
    said: list[str] = []
    mirror = Mirror(unreachable(), tmp_path / "study", say=said.append, start_seconds=0)
    replay_into(tmp_path / "study", study, mirror=mirror, pause=lambda n: time.sleep(0.02))
    mirror.close(timeout=PATIENCE_SECONDS)
    assert len(said) == 2
    assert "connection refused" in said[0]
    assert "The study goes on" in said[0]
    assert f"cov-study sync {tmp_path}/study" in said[1]
    assert "geheim" not in "".join(said)


def test_close_does_not_wait_for_a_server_that_hangs(study: Path, tmp_path: Path) -> None:
    """A port that accepts and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as hole:
        settings = load_settings(environ={"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{hole.getsockname()[1]}"})
        said: list[str] = []
        mirror = Mirror(settings, tmp_path / "study", say=said.append, start_seconds=0)
        replay_into(tmp_path / "study", study, mirror=mirror)
        mirror.close(timeout=1.0)  # no deadline: the limit is what is tested
        assert mirror._thread.is_alive(), "it waited for an end that the server never brings about"
        assert "cov-study sync" in said[-1]


def test_sync_says_what_is_wrong_in_one_line(study: Path, tmp_path: Path, settings: TrackingSettings) -> None:
    with pytest.raises(UserError, match="connection refused") as caught:
        sync(study, unreachable())
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no journal here"):
        sync(tmp_path, settings)
    with FileLock(study / "mlflow.lock"), pytest.raises(UserError, match="mirrors itself already"):
        sync(study, settings)
    with pytest.raises(UserError, match="mirror` is none"):
        sync(study, settings.model_copy(update={"mirror": "none"}))


def test_without_a_mirror_nothing_is_started(tmp_path: Path) -> None:
    before = threading.active_count()
    mirror = Mirror(load_settings().model_copy(update={"mirror": "none"}), tmp_path)
    mirror(HEARTBEAT)
    mirror.close(timeout=PATIENCE_SECONDS)
    assert threading.active_count() == before
    assert not (tmp_path / "mlflow.db").exists()


def test_a_run_that_a_user_deleted_stays_deleted(settings: TrackingSettings, study: Path, caplog: Any) -> None:
    from mlflow.tracking import MlflowClient

    sync(study, settings)
    client = MlflowClient(settings.uri)
    experiment = client.get_experiment_by_name("cov-study").experiment_id
    run = client.search_runs([experiment], "tags.arm = 'cov' and tags.level = 'trial'")[0]
    client.delete_run(run.info.run_id)
    counts = sync(study, settings)
    assert counts["created"] == 0
    assert counts["runs"] == len(client.search_runs([experiment], max_results=1000))


def test_a_deleted_experiment_is_said(settings: TrackingSettings, study: Path) -> None:
    from mlflow.tracking import MlflowClient

    sync(study, settings)
    client = MlflowClient(settings.uri)
    client.delete_experiment(client.get_experiment_by_name("cov-study").experiment_id)
    with pytest.raises(UserError, match="experiment 'cov-study' is deleted in MLflow; restore it"):
        sync(study, settings)


def test_files_are_attached(settings: TrackingSettings, study: Path, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    directory = tmp_path / "study"
    shutil.copytree(study, directory)
    (directory / "study.yaml").write_text("name: heads\n")
    (directory / "report").mkdir()
    (directory / "report" / "index.html").write_text("<p>The report</p>")
    (directory / "report" / "summary.json").write_text(json.dumps({"verdict": {"headline": "As good."}}))
    (directory / "checkpoints" / "cov-s1" / "model.safetensors").write_bytes(b"weights")
    sync(directory, settings)
    client = MlflowClient(settings.uri)
    runs = client.search_runs([client.get_experiment_by_name("cov-study").experiment_id], max_results=100)
    top = next(run for run in runs if run.data.tags["level"] == "study")
    trial = next(run for run in runs if run.info.run_name == "cov-s1")
    assert {f.path for f in client.list_artifacts(top.info.run_id)} == {"study.yaml", "report"}
    assert {f.path for f in client.list_artifacts(trial.info.run_id)} == {"model", "images"}
    assert Path(client.download_artifacts(trial.info.run_id, "model/model.safetensors")).read_bytes() == b"weights"
    note = top.data.tags["mlflow.note.content"]
    assert "As good." in note
    assert f"runs/{top.info.run_id}/artifacts/report/index.html" in note
    arms = [run.info.run_id for run in runs if run.data.tags["level"] == "arm"]
    assert all(arm in note for arm in arms), "the chart of quality against cost shows every arm"


def test_a_file_that_cannot_be_read_does_not_hold_up_the_rest(
    settings: TrackingSettings, study: Path, tmp_path: Path, expected: dict[str, Any]
) -> None:
    directory = tmp_path / "study"
    shutil.copytree(study, directory)
    (directory / "checkpoints" / "cov-s1" / "slices.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"cov-s1/slices.safetensors could not be attached"):
        sync(directory, settings)
    assert contents(settings.uri) == expected


def test_importing_the_mirror_does_not_import_mlflow() -> None:
    program = "import sys, study.tracking.mirror; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.slow
def test_mlflow_and_alembic_are_silent(study: Path, tmp_path: Path) -> None:
    """A new database is migrated at first use; none of that reaches the user's terminal."""
    program = (
        "from pathlib import Path; import sys; from study.tracking.mirror import sync;"
        "from study.tracking.settings import load_settings;"
        "sync(Path(sys.argv[1]), load_settings())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(study)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == done.stderr == ""
    assert (tmp_path / "mlflow.db").exists()


def test_a_damaged_line_is_no_reason_to_raise(settings: TrackingSettings, study: Path, tmp_path: Path) -> None:
    lines = (study / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "journal.jsonl").write_bytes(b"".join(lines[:20]) + lines[20][:-20])  # torn by a crash
    sync(tmp_path / "study", settings)
    assert contents(settings.uri)
    logging.getLogger("mlflow").setLevel(logging.NOTSET)
