"""Against servers that `cov-study ui` starts: up, killed and started again, slow, and asking for a password."""

import base64
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from study.record.journal import read_events
from study.tracking.mirror import Mirror, sync
from study.tracking.server import serve
from study.tracking.settings import ServerSettings, load_settings
from tests.tracking.conftest import Server, contents, replay_into, serving
from tests.tracking.proxy import slowed
from tests.waiting import PATIENCE_SECONDS, wait_for
from trainables.errors import UserError


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fractions of the seconds that a real study waits."""
    monkeypatch.setattr("study.tracking.mirror.FLUSH_SECONDS", 0.2)
    monkeypatch.setattr("study.tracking.mirror.WAIT_SECONDS", (0.2, 1.0))


def client_settings(uri: str) -> Any:
    return load_settings(environ={"MLFLOW_TRACKING_URI": uri})


@pytest.mark.slow
@pytest.mark.usefixtures("_hasty")
def test_server_killed_for_half_a_study_and_started_again(
    study: Path, expected: dict[str, Any], empty_store: bytes, tmp_path: Path
) -> None:
    num_events = len((study / "journal.jsonl").read_bytes().splitlines())
    said: list[str] = []
    with serving(tmp_path, empty_store) as server:
        mirror = Mirror(client_settings(server.uri), tmp_path / "study", say=said.append, start_seconds=0)

        def pause(number: int) -> None:
            if number == num_events // 4:
                wait_for_runs(server, 3)
                server.kill()
            if number == 3 * num_events // 4:
                server.start()
            time.sleep(0.03)

        replay_into(tmp_path / "study", study, mirror=mirror, pause=pause)
        mirror.close(timeout=PATIENCE_SECONDS)
        assert contents(server.uri) == expected
    assert len(said) == 1
    assert "cannot be written to" in said[0]


@pytest.mark.slow
@pytest.mark.usefixtures("_hasty")
def test_a_slow_server_does_not_slow_the_study_and_gets_everything(
    study: Path, expected: dict[str, Any], empty_store: bytes, tmp_path: Path
) -> None:
    with serving(tmp_path, empty_store) as server, slowed(server.uri, 0.05) as late:
        mirror = Mirror(client_settings(late), tmp_path / "study", start_seconds=0)
        seconds = 0.0
        events = list(read_events(study / "journal.jsonl"))
        for event in events:
            start = time.perf_counter()
            mirror(event)
            seconds += time.perf_counter() - start
        replay_into(tmp_path / "study", study, mirror=mirror)
        mirror.close(timeout=PATIENCE_SECONDS)
        assert seconds < 0.05 * len(events)  # what a request for each event would take at least
        assert contents(server.uri) == expected


@pytest.mark.slow
def test_the_server_is_local_lean_and_silent(empty_store: bytes, tmp_path: Path) -> None:
    with serving(tmp_path, empty_store) as server:
        process = psutil.Process(server.pid)
        family = [process, *process.children(recursive=True)]
        assert len(family) <= 2
        assert {c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == "LISTEN"} == {"127.0.0.1"}
        with urllib.request.urlopen(
            f"{server.uri}/ajax-api/3.0/mlflow/ui-telemetry", timeout=PATIENCE_SECONDS
        ) as answer:
            assert json.load(answer)["disable_ui_telemetry"] is True
        # Another program at the same port, and a page of another name that points here.
        settings = load_settings(tmp_path / "mlflow.yml", environ={})
        with pytest.raises(UserError, match=rf"cannot listen on 127.0.0.1:{server.port}.*server.port"):
            serve(settings)
        rebound = urllib.request.Request(
            f"{server.uri}/api/2.0/mlflow/experiments/search", headers={"Host": "evil.org"}
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(rebound, timeout=PATIENCE_SECONDS)
        assert caught.value.code == 403


@pytest.mark.slow
def test_with_auth_only_who_knows_the_password_gets_in(
    empty_store: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: Path
) -> None:
    pytest.importorskip("flask_wtf", reason="needs mlflow[auth]")
    secrets = {"MLFLOW_AUTH_ADMIN_USERNAME": "anna", "MLFLOW_AUTH_ADMIN_PASSWORD": "a long enough one"}
    with serving(tmp_path, empty_store, server="  auth: true\n", **secrets) as server:
        address = f"{server.uri}/api/2.0/mlflow/experiments/search?max_results=1"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(address, timeout=PATIENCE_SECONDS)
        assert caught.value.code == 401
        token = base64.b64encode(b"anna:a long enough one").decode()
        request = urllib.request.Request(address, headers={"Authorization": f"Basic {token}"})
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            assert answer.status == 200
        assert "a long enough one" not in (tmp_path / "server.log").read_text()

        with pytest.raises(UserError, match="set MLFLOW_TRACKING_USERNAME and _PASSWORD") as refused:
            study_sync(study, server)
        assert "\n" not in str(refused.value)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a long enough one")
        assert study_sync(study, server)["created"] == 4


def test_auth_without_a_password_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(environ={}).model_copy(update={"server": ServerSettings(auth=True)})
    with pytest.raises(UserError, match="MLFLOW_AUTH_ADMIN_PASSWORD"):
        serve(settings)
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "short")
    with pytest.raises(UserError, match="12 characters"):
        serve(settings)


def study_sync(directory: Path, server: Server) -> dict[str, int]:
    # Not deep: every request has its password checked anew.
    return sync(directory, client_settings(server.uri).model_copy(update={"mirror": "arms"}))


def wait_for_runs(server: Server, number: int) -> None:
    """Until the mirror has made some runs."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(server.uri)

    def are_there() -> bool:
        experiment = client.get_experiment_by_name("cov-study")
        return experiment is not None and len(client.search_runs([experiment.experiment_id])) >= number

    wait_for(are_there, what="the mirror makes no runs")
