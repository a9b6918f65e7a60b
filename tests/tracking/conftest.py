"""Real stores for the mirror: SQLite files, servers started as users start them, and what MLflow holds in the end."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from study.record.journal import read_events
from study.record.record import JOURNAL, Record
from study.tracking.mirror import Mirror, sync
from study.tracking.settings import TrackingSettings, load_settings
from tests.report.fake_study import FakeStudy
from tests.waiting import PATIENCE_SECONDS, wait_for

VOLATILE = ("mirrored", "mlflow.parentRunId", "mlflow.note.content")
"""Tags that hold run ids, or tell how far a mirror has come."""


@pytest.fixture(autouse=True)
def _quiet_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test in a folder of its own, without the user's MLflow settings."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished study with a lost, a failed and a pruned attempt. Not to be written to."""
    fake = FakeStudy(
        terms=("l1", "ssim"),
        num_subjects=3,
        num_trials=4,
        replicates=2,
        seeds=(1,),
        confirm_seeds=(1,),
        epochs=3,
        automatic_arms=("cov",),
        single_arms=False,
        lose=lambda key: key == "tuned-r0-t001",
        fail=lambda key: key == "tuned-r0-t002",
        prune=lambda key: key == "tuned-r1-t003",
    )
    return fake.write(tmp_path_factory.mktemp("study") / "fake")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A migrated, empty SQLite store: MLflow takes seconds to make one."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path.read_bytes()


@pytest.fixture
def settings(tmp_path: Path, empty_store: bytes) -> TrackingSettings:
    """Tracking into an SQLite file of the test's own."""
    (tmp_path / "mlflow.db").write_bytes(empty_store)
    return load_settings()


def replay_into(
    directory: Path,
    source: Path,
    *,
    mirror: Mirror | None = None,
    pause: Callable[[int], None] | None = None,
    start: int = 0,
    stop: int | None = None,
) -> None:
    """Appends events of the study at `source` to a journal in `directory`, as a driver does."""
    events = list(read_events(source / JOURNAL))
    now = {"time": 0.0, "clock": events[start - 1].seconds if start else 0.0}
    with Record(directory, clock=lambda: now["time"], timer=lambda: now["clock"]) as record:
        if mirror:
            record.subscribe(mirror)
        for number, stamped in enumerate(events[start:stop], start=start):
            if pause:
                pause(number)
            now |= {"time": stamped.time, "clock": stamped.seconds}
            record.append(stamped.event)


def contents(uri: str, experiment: str = "cov-study") -> dict[str, dict[str, Any]]:
    """Everything that MLflow holds of the studies of an experiment, by key, through its API."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=5000)
    keys = {run.info.run_id: run.data.tags["key"] for run in runs}
    assert len(set(keys.values())) == len(runs), "a run is there twice"
    return {
        run.data.tags["key"]: {
            "name": run.info.run_name,
            "status": run.info.status,
            "start": run.info.start_time,
            "end": run.info.end_time,
            "parent": keys.get(run.data.tags.get("mlflow.parentRunId")),
            "params": run.data.params,
            "tags": {key: value for key, value in run.data.tags.items() if key not in VOLATILE},
            "points": sorted(
                (key, point.step, point.timestamp, point.value)
                for key in run.data.metrics
                for point in client.get_metric_history(run.info.run_id, key)
            ),
        }
        for run in runs
    }


@pytest.fixture(scope="session")
def expected(study: Path, empty_store: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What MLflow holds of `study` if nothing goes wrong."""
    store = tmp_path_factory.mktemp("expected") / "mlflow.db"
    store.write_bytes(empty_store)
    settings = load_settings(environ={"MLFLOW_TRACKING_URI": f"sqlite:///{store}"})
    sync(study, settings)
    return contents(settings.uri)


# --- servers ------------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`cov-study ui` as a process of its own."""

    def __init__(self, folder: Path, port: int, **environment: str) -> None:
        self.folder, self.port, self.uri = folder, port, f"http://127.0.0.1:{port}"
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Server":
        """Starts it and waits until it answers."""
        command = [sys.executable, "-m", "study", "ui"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self._answers, self._process, "the server does not answer", log=self.folder / "server.log")
        return self

    def _answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=PATIENCE_SECONDS) as answer:
            return bool(answer.status == 200)
        return False

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Ends it and its workers at once, as a power cut does."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None


@contextmanager
def serving(
    folder: Path, empty_store: bytes | None = None, *, server: str = "", **environment: str
) -> Iterator[Server]:
    """A running `cov-study ui` in `folder`; `server` are more lines of its block."""
    port = free_port()
    (folder / "mlflow.yml").write_text(f"server:\n  port: {port}\n{server}")
    if empty_store is not None:
        (folder / "mlflow.db").write_bytes(empty_store)
    process = Server(folder, port, **environment)
    try:
        yield process.start()
    finally:
        process.kill()
