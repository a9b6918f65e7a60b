"""Imports that take less time leave everything as they found it, and every such trick is in one file."""

import gc
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trainables import startup
from trainables.startup import lean_import, without_collector


def test_the_collector_rests():
    with without_collector():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_collector_that_rested_before_rests_after():
    gc.disable()
    try:
        with without_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_was_imported_is_left_out_of_every_later_search(tmp_path, monkeypatch):
    (tmp_path / "module_of_lean.py").write_text("cycle = []\ncycle.append(cycle)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with without_collector():
        module = importlib.import_module("module_of_lean")
    assert not any(item is module.cycle for item in gc.get_objects())


def test_without_an_import_nothing_is_left_out():
    with without_collector():
        cycle = []
        cycle.append(cycle)
    assert any(item is cycle for item in gc.get_objects())


def test_the_collector_goes_on_when_an_import_fails():
    with pytest.raises(ImportError), without_collector():
        importlib.import_module("no_such_module")
    assert gc.isenabled()


def test_a_library_does_not_see_what_is_hidden_and_its_user_does(tmp_path, monkeypatch):
    (tmp_path / "optional_of_lean.py").write_text("")
    (tmp_path / "library_of_lean.py").write_text(
        "try:\n    import optional_of_lean\nexcept ImportError:\n    optional_of_lean = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with lean_import("library_of_lean", without=("optional_of_lean",)):
        library = importlib.import_module("library_of_lean")
    assert library.optional_of_lean is None
    assert importlib.import_module("optional_of_lean") is sys.modules["optional_of_lean"]


def test_rays_integration_comes_without_mlflow_which_can_be_imported_afterwards():
    script = """
import sys
from trainables.startup import import_ray_integration
import_ray_integration()
print("ray.air.integrations.mlflow" in sys.modules, "mlflow" in sys.modules)
import mlflow.version
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_every_trick_is_in_one_file_which_says_what_it_saves():
    table = re.findall(r"^\| `(\w+)`[^|]*\| (\w[^|]+) \| \w[^|]+ \|$", startup.__doc__, re.MULTILINE)
    functions = {name for name, value in vars(startup).items() if getattr(value, "__module__", "") == startup.__name__}
    assert {name for name, _ in table} == functions

    tricks = re.compile(r"gc\.(disable|freeze)|sys\.modules\.update|inspect\.unwrap|mallopt")
    root = Path(startup.__file__).parent.parent
    sources = [path for floor in ("study", "search_spaces", "trainables") for path in (root / floor).rglob("*.py")]
    assert [path.name for path in sources if tricks.search(path.read_text(encoding="utf-8"))] == ["startup.py"]
