"""The example package, installed as any other."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECONDS
from trainables import extensions

EXAMPLE = Path(__file__).parents[1] / "example_package"


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """A folder into which pip has installed the example package; put it on PYTHONPATH."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")  # setuptools builds beside the sources
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    install = [sys.executable, "-m", "pip", "install", "-q", *offline, "--target", folder / "site", folder / "source"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """What is installed is looked for anew, and what was imported is forgotten."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    extensions._offered.cache_clear()
    yield
    extensions._offered.cache_clear()
    for name in set(sys.modules) - before:
        if not getattr(sys.modules[name], "__file__", None) or "site-packages" not in sys.modules[name].__file__:
            del sys.modules[name]
