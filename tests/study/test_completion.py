"""Completion in the shell: installed for it, and answered as the shell asks."""

import os
import subprocess

import pytest

from tests.study.command import COMMAND, environment


def completed(line: str, folder) -> list[str]:
    """What bash would offer at the end of the line."""
    words = line.split(" ")
    asked = {"_COV_STUDY_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run([COMMAND], env=environment(folder) | asked, capture_output=True, text=True, timeout=60)
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


def test_it_installs_itself_for_the_shell_it_runs_in(tmp_path):
    home = environment(tmp_path) | {"HOME": str(tmp_path), "PATH": f"{os.path.dirname(COMMAND)}:{os.environ['PATH']}"}
    shell = ["bash", "--norc", "-c", "cov-study --install-completion; true"]
    done = subprocess.run(shell, env=home, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = ["bash", "--norc", "-c", f"source {tmp_path}/.bashrc; complete -p cov-study"]
    done = subprocess.run(loaded, env=home, capture_output=True, text=True, timeout=60)
    assert "_cov_study_completion cov-study" in done.stdout
