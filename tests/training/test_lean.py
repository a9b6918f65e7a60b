"""Imports that take less time leave everything as they found it."""

import gc
import importlib
import sys

import pytest

from trainables.lean import lean_import, without_collector


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
