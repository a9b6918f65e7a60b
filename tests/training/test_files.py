"""A file that is replaced is whole at every moment, whatever stops its writer."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainables import files
from trainables.checkpoint import BEFORE, NEWEST, load_state, remove_states, save_json, save_state
from trainables.files import replacing, write_text


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half a text" * 10_000 + "\ud800")
    with pytest.raises(TypeError), replacing(path) as beside, beside.open("w") as file:
        json.dump({"half": [0] * 10_000, "not": object()}, file)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.yaml"]


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    write_text(path, "old")
    script = f"""
import os, signal
from pathlib import Path
from trainables.files import replacing
with replacing(Path({str(path)!r})) as beside:
    beside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".")] == ["study.yaml"]


def test_what_cannot_be_written_is_told_by_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as error:
        write_text(tmp_path / "absent" / "study.yaml", "new")
    assert error.value.filename == str(tmp_path / "absent" / "study.yaml")


def test_two_writers_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with replacing(path) as one:
        one.write_text("one")
        with replacing(path) as other:
            other.write_text("other")
        assert path.read_text() == "other"
        assert one.suffix == ".csv"
    assert path.read_text() == "one"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_checkpoint_that_cannot_be_written_leaves_both_before_it(tmp_path: Path) -> None:
    for epoch in (1, 2):
        save_state(tmp_path, {"epoch": epoch})
    with pytest.raises(AttributeError):  # a function made here cannot be pickled
        save_state(tmp_path, {"epoch": lambda: 3})
    assert load_state(tmp_path) == {"epoch": 2}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([NEWEST, BEFORE])


def test_checkpoints_go_with_what_killed_writers_left_of_them(tmp_path: Path) -> None:
    for epoch in (1, 2):
        save_state(tmp_path, {"epoch": epoch})
    (tmp_path / f".0123-{NEWEST}").write_bytes(b"half")
    save_json(tmp_path / "scores.json", {})
    remove_states(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.json"]


def test_files_are_replaced_in_one_place() -> None:
    """Folders are swapped elsewhere, and a checkpoint steps aside for the next."""
    root = Path(files.__file__).parent.parent
    sources = [path for floor in ("study", "search_spaces", "trainables") for path in (root / floor).rglob("*.py")]
    found = {
        path.relative_to(root).as_posix()
        for path in sources
        if re.search(r"os\.replace|mkstemp", path.read_text(encoding="utf-8"))
    }
    folders = {"trainables/cohort/arrays.py", "trainables/cohort/virtual/bids.py", "study/report/page/publish.py"}
    assert found == {"trainables/files.py", "trainables/checkpoint.py"} | folders
