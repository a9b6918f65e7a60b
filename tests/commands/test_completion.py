"""What the shell is told: completions as it asks for them, and the versions."""

import os
import subprocess
from importlib import metadata

import pytest

from tests.commands.command import COMMAND, environment
from tests.waiting import PATIENCE_SECONDS

TOLD = {"capture_output": True, "text": True, "timeout": PATIENCE_SECONDS}


def completed(line: str, folder) -> list[str]:
    """What bash would offer at the end of the line."""
    words = line.split(" ")
    asked = {"_COV_STUDY_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run([COMMAND], env=environment(folder) | asked, **TOLD)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cov-study co", ["compare", "cohort"]),
        ("cov-study cohort ", ["simulate", "check"]),
        ("cov-study run --pre", ["--preset"]),
        ("cov-study run --preset ", ["demo", "paper", "smoke"]),
        ("cov-study run --preset d", ["demo"]),
        ("cov-study estimate -o training.e", ["training.epochs=", "training.eval_batch_size="]),
        ("cov-study launch ", ["job", "slurm", "kuberay"]),
    ],
)
def test_commands_options_presets_and_keys_are_offered(tmp_path, line, offered):
    assert completed(line, tmp_path) == offered


def test_the_version_names_what_the_numbers_rest_on(tmp_path):
    done = subprocess.run([COMMAND, "--version"], env=environment(tmp_path), **TOLD)
    first, second = done.stdout.splitlines()[:2]
    assert first == f"cov-study {metadata.version('cov-study')}"
    for package in ("torch", "monai", "torchjd", "ray", "optuna", "mlflow", "numpy"):
        assert f"{package} {metadata.version(package)}" in second


def test_it_installs_itself_for_the_shell_it_runs_in(tmp_path):
    home = environment(tmp_path) | {"HOME": str(tmp_path), "PATH": f"{os.path.dirname(COMMAND)}:{os.environ['PATH']}"}
    shell = ["bash", "--norc", "-c", "cov-study --install-completion; true"]
    done = subprocess.run(shell, env=home, **TOLD)
    assert done.returncode == 0, done.stderr
    loaded = ["bash", "--norc", "-c", f"source {tmp_path}/.bashrc; complete -p cov-study"]
    done = subprocess.run(loaded, env=home, **TOLD)
    assert "_cov_study_completion cov-study" in done.stdout
