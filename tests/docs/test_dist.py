"""The archives hold the program, all of it, and nothing else."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

PACKAGES = ("study", "search_spaces", "trainables")
BESIDE = {"CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md", "constraints.txt", "mlflow.yml", "pyproject.toml"}
MADE = {"PKG-INFO", "setup.cfg"}


@pytest.fixture(scope="module")
def program() -> set[str]:
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for name in listed.splitlines() if (ROOT / name).exists()}


def test_the_wheel_is_the_program(dist, program):
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (card,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = wheel.read(card).decode()
    assert names == program
    assert {f"{package}/py.typed" for package in PACKAGES} < names
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "License-File: LICENSE\n" in metadata
    assert metadata.count("\nClassifier: ") >= 5


def test_the_source_archive_adds_what_builds_and_explains_it(dist, program):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert {name for name in names if not name.startswith("cov_study.egg-info/")} == program | BESIDE | MADE


def test_outside_the_repository_the_wheel_is_what_runs(installed, tmp_path):
    code = "import study, trainables, search_spaces as s; print(study.__file__, trainables.__file__, s.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=installed, capture_output=True, text=True, check=True
    )
    assert {Path(file).parents[1] for file in done.stdout.split()} == {Path(installed["PYTHONPATH"])}
