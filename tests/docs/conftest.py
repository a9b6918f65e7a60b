"""One wheel and one followed tutorial for all tests of the documentation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.command import environment
from tests.docs.tutorial import script, sources
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="session")
def dist(tmp_path_factory) -> Path:
    """A folder with a source archive, and a wheel made of it."""
    clone, out = sources(tmp_path_factory.mktemp("sources")), tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(clone)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="session")
def installed(dist, tmp_path_factory) -> dict[str, str]:
    """Environment variables under which the wheel is what Python finds, and not the sources."""
    site = tmp_path_factory.mktemp("site")
    (wheel,) = dist.glob("*.whl")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(command, check=True, capture_output=True)
    path = f"{site / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PYTHONPATH": str(site), "PATH": path, "PYTHONSAFEPATH": "1"}


@pytest.fixture(scope="session")
def tutorial(installed, tmp_path_factory) -> tuple[Path, str]:
    """Follows the tutorial with the wheel, in an empty home; returns the study folder it makes and what was said."""
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        ["bash", "-c", script(leave_out=("install", "elsewhere", "stays up"))],
        cwd=home,
        env=environment(home) | installed | {"HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return home / "my-study", done.stdout
