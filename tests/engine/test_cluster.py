"""Studies on clusters of several nodes: real Ray processes on this machine, each with a port of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from study.record.journal import JournalError
from study.record.record import load_state
from study.record.state import StudyState
from study.settings.reading import PRESETS
from tests.commands.command import COMMAND, environment
from tests.record.plain import read_plain
from tests.waiting import PATIENCE_SECONDS, wait_for

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
        wait_for(
            lambda: "Ray runtime started" in self._log.read_text(), self.process, "Ray does not start", log=self._log
        )

    def stop(self) -> None:
        """Ends this node's processes and no others."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        self.process.terminate()
        left = psutil.wait_procs(family, timeout=10)[1]  # no deadline: what is left is killed
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(left, timeout=PATIENCE_SECONDS)


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
            # By default every node's agent wants one and the same port, and without it takes no job.
            agent = ("--dashboard-agent-listen-port", str(free_port()))
            node = Node(*arguments, *agent, "--temp-dir", own, folder=folder)
            stack.callback(node.stop)
        yield Addresses(f"{HOST}:{port}", f"http://{HOST}:{dashboard}")


def run(*arguments: str, folder: Path, timeout: float = PATIENCE_SECONDS) -> subprocess.CompletedProcess[str]:
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
    started = [e for e in read_plain(tmp_path / "study" / "journal.jsonl") if e["event"] == "driver_started"]
    assert [event["workers"] for event in started] == [2]
    assert not list((tmp_path / "study").glob(".*")), "left behind"


def test_a_ray_job_takes_the_working_directory_along(two_nodes, tmp_path):
    here, out = tmp_path / "here", tmp_path / "shared" / "study"
    here.mkdir()
    (here / "mine.yaml").write_text((PRESETS / "smoke.yaml").read_text())
    arguments = ("launch", "job", "mine.yaml", "--address", two_nodes.dashboard, "--out", str(out))
    deadline = time.monotonic() + PATIENCE_SECONDS
    done = run(*arguments, folder=here)
    while "No available agent" in done.stderr and time.monotonic() < deadline:  # a cluster that has only just started
        done = run(*arguments, folder=here)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_complete(load_state(out))
    assert str(out / "report" / "index.html") in done.stdout


def test_a_node_that_goes_takes_no_trial_with_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    one = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 100_000_000}
    family: list[psutil.Process] = []
    with contextlib.ExitStack() as stack:
        cluster = Cluster(initialize_head=True, head_node_args=one | {"include_dashboard": False})
        stack.callback(cluster.shutdown)
        nodes = [cluster.add_node(**one) for _ in range(2)]
        cluster.wait_for_nodes(timeout=PATIENCE_SECONDS)
        arguments = ("run", "--preset", "smoke", "--out", "study", "--address", cluster.address)
        arguments += ("-o", "training.epochs=10", "-o", "training.steps_per_epoch=60")
        process = subprocess.Popen(
            [COMMAND, *arguments], cwd=tmp_path, env=loopback(tmp_path), stderr=subprocess.PIPE, text=True
        )
        stack.callback(process.kill)
        busy: list[Any] = []

        def one_is_busy() -> bool:
            busy[:] = filter(trains, nodes)
            return num_measured(tmp_path) >= 2 and bool(busy)

        wait_for(one_is_busy, process, "no node trains")
        family += family_of(cluster.list_all_nodes())
        cluster.remove_node(busy[0], allow_graceful=False)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
        family += family_of(cluster.list_all_nodes())
    assert process.returncode == 0, err
    assert not psutil.wait_procs(family, timeout=PATIENCE_SECONDS)[1], "orphan processes"
    state = load_state(tmp_path / "study")
    assert_complete(state)
    lost = [attempt for trial in state.trials.values() for attempt in trial.attempts if attempt.state == "lost"]
    assert lost
    assert all(attempt.device_seconds > 0 for attempt in lost)


def family_of(nodes: list[Any]) -> list[psutil.Process]:
    """The processes of nodes, and what those have started."""
    family = []
    for info in [info for node in nodes for infos in node.all_processes.values() for info in infos]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(info.process.pid)
            family += [process, *process.children(recursive=True)]
    return family


def num_measured(folder: Path) -> int:
    with contextlib.suppress(JournalError):
        return sum(event["event"] == "measurement" for event in read_plain(folder / "study" / "journal.jsonl"))
    return 0


def trains(node: Any) -> bool:
    """Whether a node is in the middle of an epoch, by the name that Ray gives the process."""
    (raylet,) = node.all_processes["raylet"]
    children = psutil.Process(raylet.process.pid).children(recursive=True)
    return any("ray::ResourceTrainable.train" in command_of(child) for child in children)


def command_of(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
