"""The installed command, run as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.waiting import PATIENCE_SECONDS

COMMAND = str(Path(sys.executable).with_name("cov-study"))
QUICK = (
    "-o", "cohort.virtual.num_subjects=6", "-o", "cohort.virtual.num_train=3", "-o", "cohort.virtual.num_validation=1",
    "-o", "cohort.virtual.num_test=2",
)  # fmt: skip


def environment(folder: Path) -> dict[str, str]:
    """As a user's, but with MLflow's store in the test's own folder and no colour."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "RAY_"))}
    return clean | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "NO_COLOR": "1", "COLUMNS": "200"}


def cov_study(*arguments: str, folder: Path, timeout: float = PATIENCE_SECONDS) -> subprocess.CompletedProcess[str]:
    """Runs `cov-study` in `folder` to its end."""
    return subprocess.run(
        [COMMAND, *arguments], cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=timeout
    )


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    """Starts `cov-study` in `folder`, in a process group of its own."""
    return subprocess.Popen(
        [COMMAND, *arguments], cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
