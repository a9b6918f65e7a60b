"""Decisions about the house, held as tests."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parent.parent


def test_imports_run_downwards_and_libraries_stay_in_their_rooms():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stdout
    assert f"{len(_contracts())} kept, 0 broken" in done.stdout


def _contracts() -> list[dict[str, object]]:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return found["tool"]["importlinter"]["contracts"]


def _modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
    )
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "module", ["study.commands.app", "study.settings.schema", "study.record.journal", "study.planning.plan"]
)
def test_starting_the_command_imports_nothing_slow(module):
    assert not _modules_after(f"import {module}") & {
        "torch",
        "ray",
        "mlflow",
        "optuna",
        "monai",
        "pandas",
        "matplotlib",
    }


def test_the_ground_floor_trains_without_the_floors_above():
    modules = _modules_after("import trainables.training, trainables.baselines, trainables.weighting")
    assert not modules & {"study", "search_spaces", "ray", "mlflow", "optuna"}
