"""What a cluster is given: scripts that bash reads, manifests that YAML reads, and a notice that reaches the study."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from study.launch.manifest import Launch, fill, start
from tests.commands.command import cov_study
from tests.waiting import PATIENCE_SECONDS, wait_for
from trainables.errors import UserError

ODD = "a b'c"
"""A name that a shell would take apart."""


def launch(folder: Path, **changes) -> Launch:
    return Launch(name="My study: 1", out=folder / ODD, overrides=("training.epochs=2", "name=it's"), **changes)


def bash_reads(text: str) -> bool:
    return subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize("kind", ["job", "slurm"])
@pytest.mark.parametrize("gpus", [0, 2])
def test_bash_reads_the_scripts(tmp_path, kind, gpus):
    text = fill(kind, launch(tmp_path, gpus=gpus, address="http://head:8265", partition="gpu"))
    assert bash_reads(text)
    assert "{{" not in text
    assert "{%" not in text
    if kind == "slurm":
        assert ("#SBATCH --gpus-per-node=2" in text) == (gpus == 2)
        assert {"#SBATCH --job-name=my-study-1", "#SBATCH --partition=gpu"} <= set(text.splitlines())
        # SLURM reads its own lines up to the first command.
        assert "#SBATCH" not in text.partition("set -euo")[2]


def test_the_job_hands_ray_every_word_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").touch()
    shims(tmp_path, ray='if [ "$2" = submit ]; then printf "%s\\n" "$@"; else echo "Job \'$5\' succeeded"; fi')
    text = fill(
        "job", launch(tmp_path, config=tmp_path / "study.yaml", address="http://head:8265", tracking_uri="http://ml")
    )
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    words = done.stdout.splitlines()
    assert words[:4] == ["job", "submit", "--address", "http://head:8265"]
    assert words[words.index("--working-dir") + 1] == str(tmp_path)
    env = json.loads(words[words.index("--runtime-env-json") + 1])
    assert env["env_vars"]["MLFLOW_TRACKING_URI"] == "http://ml"
    assert ".venv" in env["excludes"]
    shell, option, line = words[words.index("--") + 1 :]
    assert (shell, option) == ("bash", "-c")
    run = shlex.split(line.partition("exec cov-study run ")[2].removesuffix("; fi"))
    assert run == [
        "--address", "auto", "--out", str(tmp_path / ODD), "study.yaml", "-o", "training.epochs=2", "-o", "name=it's",
    ]  # fmt: skip


def test_a_configuration_that_would_not_travel_is_refused(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UserError, match="outside the working directory"):
        fill("job", launch(tmp_path, config=tmp_path / "study.yaml"))


def test_the_manifest_is_yaml_and_carries_the_configuration(tmp_path):
    config = tmp_path / "study.yaml"
    config.write_text("name: mine\narms:\n  cov: {}  # one training\n")
    asked = Launch(
        name="My study: 1", out=Path("/studies/mine"), config=config, image="registry/cov-study:1", gpus=2, nodes=3
    )
    carried, job = yaml.safe_load_all(fill("kuberay", asked))
    assert yaml.safe_load(carried["data"]["study.yaml"]) == yaml.safe_load(config.read_text())
    assert (job["apiVersion"], job["kind"], job["metadata"]["name"]) == ("ray.io/v1", "RayJob", "my-study-1")
    spec = job["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert yaml.safe_load(spec["runtimeEnvYAML"]) == {"env_vars": {"RAY_USAGE_STATS_ENABLED": "0"}}
    assert "/etc/cov-study/study.yaml" in shlex.split(spec["entrypoint"])[2]
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (workers,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["replicas"] == 3
    worker = workers["template"]["spec"]
    for pod in (head, worker):
        (container,) = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["shared"] == "/studies"
        assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert "nvidia.com/gpu" not in head["containers"][0]["resources"]["limits"]
    assert head["volumes"][1]["configMap"]["name"] == carried["metadata"]["name"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({}, "--image"), ({"image": "i"}, "--out .*: the pods see /studies only")],
)
def test_a_manifest_that_could_not_run_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        fill("kuberay", launch(tmp_path, **changes))


@pytest.mark.parametrize(("kind", "program"), [("job", "ray"), ("slurm", "sbatch"), ("kuberay", "kubectl")])
def test_a_missing_program_is_named(monkeypatch, tmp_path, kind, program):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=f"`{program}` is not on this machine"):
        start(kind, "")


def test_the_command_prints_with_dry_run_and_checks_the_configuration_first(tmp_path):
    done = cov_study("launch", "slurm", "--preset", "smoke", "--nodes", "3", "--dry-run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --nodes=3" in done.stdout.splitlines()
    assert bash_reads(done.stdout)
    wrong = cov_study("launch", "slurm", "--preset", "smoke", "-o", "sed=1", "--dry-run", folder=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "did you mean -o seed=1?" in wrong.stderr


# --- the status that a job ends with ----------------------------------------------------------------------------

SWALLOWS = 'while [ "$1" != -- ]; do shift; done; shift; "$@"; exit 0'
"""`ray symmetric-run` with a driver whose status gets lost."""


def slurm_job(folder: Path, ray: str, study: str) -> subprocess.CompletedProcess[str]:
    """Runs the batch script where `ray` and the study are the given lines of a shell."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    shims(
        programs,
        scontrol=f'echo "$@" >> "{folder}/scontrol"; echo first; echo second',
        srun='while [ "$1" != ray ]; do shift; done; "$@"',
        ray=ray,
        **{"cov-study": study},
    )
    text = fill("slurm", launch(folder)).replace(str(Path(sys.executable).parent), str(programs))
    environment = os.environ | {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2"}
    return subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("status", [0, 1, 3, 137])
def test_a_slurm_job_ends_as_its_study_does_even_if_ray_does_not_say(tmp_path, status):
    done = slurm_job(tmp_path, SWALLOWS, f"exit {status}")
    assert done.returncode == status, done.stderr
    assert not list((tmp_path / ODD).glob(".driver*"))


@pytest.mark.parametrize(("ray", "status"), [("exit 0", 1), ("exit 7", 7)])
def test_a_slurm_job_whose_ray_did_not_start_fails_whatever_an_earlier_one_left(tmp_path, ray, status):
    (tmp_path / ODD).mkdir()
    (tmp_path / ODD / ".driver.77.status").write_text("0\n")  # of the same job, before it was queued again
    (tmp_path / ODD / ".driver.76.status").write_text("0\n")
    done = slurm_job(tmp_path, ray, "exit 0")
    assert done.returncode == status
    assert ("Ray did not start" in done.stderr) == (ray == "exit 0")


@pytest.mark.parametrize(
    ("submit", "state", "status"),
    [(0, "succeeded", 0), (0, "was stopped", 1), (1, "failed", 1), (0, "status is lost", 1)],
)
def test_a_ray_job_that_was_stopped_has_not_succeeded(tmp_path, monkeypatch, submit, state, status):
    monkeypatch.chdir(tmp_path)
    shims(tmp_path, ray=f'if [ "$2" = submit ]; then exit {submit}; else echo "Job \'succeeded-1\' {state}"; fi')
    text = fill("job", launch(tmp_path, address="http://head:8265"))
    assert subprocess.run(["bash", "-c", text], check=False).returncode == status
    # Nobody waits for this one: it ends once it is submitted.
    text = fill("job", launch(tmp_path, address="http://head:8265", no_wait=True))
    assert subprocess.run(["bash", "-c", text], check=False).returncode == submit


# --- the preemption notice --------------------------------------------------------------------------------------


def shims(folder: Path, **programs: str) -> None:
    """Programs of a cluster, reduced to what the script sees of them; first in the PATH that the script sets."""
    for name, body in programs.items():
        path = folder / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"


@pytest.fixture(autouse=True)
def _path_restored(monkeypatch):
    monkeypatch.setenv("PATH", os.environ["PATH"])


def test_a_preemption_notice_reaches_the_study_alone_and_the_job_is_queued_again(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    shims(
        programs,
        scontrol=f'echo "$@" >> "{tmp_path}/scontrol"; echo first; echo second',
        srun='while [ "$1" != ray ]; do shift; done; "$@"',  # not exec: Ray's processes live between script and study
        ray='while [ "$1" != -- ]; do shift; done; shift; "$@"',
        **{"cov-study": f'trap "echo noticed > {tmp_path}/noticed; exit 130" USR1\n'
                        f'touch {tmp_path}/began; while true; do sleep 0.05; done'},
    )  # fmt: skip
    text = fill("slurm", launch(tmp_path)).replace(str(Path(sys.executable).parent), str(programs))
    environment = os.environ | {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2"}
    script = subprocess.Popen(["bash", "-c", text], env=environment)
    wait_for((tmp_path / "began").exists, script, pause=0.02)
    script.send_signal(signal.SIGUSR1)
    assert script.wait(timeout=PATIENCE_SECONDS) == 130
    assert (tmp_path / "noticed").exists()
    assert (tmp_path / "scontrol").read_text().splitlines()[-1] == "requeue 77"
    assert not list((tmp_path / ODD).glob(".driver*"))
