"""Studies on clusters of several nodes: real Ray processes on this machine, each with a port of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from study.journal import load_state, read_events
from study.state import StudyState
from tests.study.command import COMMAND, environment

pytestmark = pytest.mark.slow

RAY = str(Path(sys.executable).with_name("ray"))
HOST = "127.0.0.1"
SMALL = ("--object-store-memory", "100000000", "--num-cpus", "1", "--num-gpus", "0", "--disable-usage-stats")


def free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return free.getsockname()[1]


def loopback(folder: Path) -> dict[str, str]:
    """Ray on loopback without a token in the user's home; its programs are found as in an activated environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return environment(folder) | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "PATH": path}


class Node:
    """One `ray start --block`, up when this returns; it lives and dies with the processes it started.

    Args:
        arguments: of `ray start`.
        folder: where its log goes.
    """

    def __init__(self, *arguments: str, folder: Path) -> None:
        self._log = folder / f"ray-{free_port()}.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [RAY, "start", "--block", "--node-ip-address", HOST, *arguments, *SMALL], env=loopback(folder),
                cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        wait_for(lambda: "Ray runtime started" in self._log.read_text(), f"see {self._log}", self.process)

    def stop(self) -> None:
        """Ends this node's processes and no others."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        self.process.terminate()
        for process in psutil.wait_procs(family, timeout=10)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


def wait_for(condition: Callable[[], bool], what: str, process: subprocess.Popen[str], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, what
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@dataclass(frozen=True)
class Addresses:
    """How a cluster is reached."""

    cluster: str
    dashboard: str


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory) -> Iterator[Addresses]:
    """A head and a node that joined it, each with one CPU."""
    folder = tmp_path_factory.mktemp("ray")
    port, dashboard = str(free_port()), str(free_port())
    head = ("--head", "--port", port, "--include-dashboard", "true", "--dashboard-port", dashboard)
    with contextlib.ExitStack() as stack:
        for arguments in (head, ("--address", f"{HOST}:{port}")):
            # Nodes that shared Ray's folder would unpack a job's working directory over each other. Short, for sockets.
            own = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True))
            node = Node(*arguments, "--temp-dir", own, folder=folder)
            stack.callback(node.stop)
        yield Addresses(f"{HOST}:{port}", f"http://{HOST}:{dashboard}")


def run(*arguments: str, folder: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], cwd=folder, env=loopback(folder), capture_output=True, text=True, timeout=timeout
    )


def assert_complete(state: StudyState) -> None:
    assert state.finished
    assert len(state.trials) == 10
    assert {trial.state for trial in state.trials.values()} == {"complete"}


def test_a_study_runs_on_a_cluster_that_is_there_already(two_nodes, tmp_path):
    done = run("run", "--preset", "smoke", "--out", "study", "--address", two_nodes.cluster, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_complete(load_state(tmp_path / "study"))
    started = [e for e in read_events(tmp_path / "study" / "journal.jsonl") if e["event"] == "driver_started"]
    assert [event["workers"] for event in started] == [2]
    assert not list((tmp_path / "study").glob(".*")), "left behind"
