"""Workers train with the driver's code, whatever lies in the folder that the command was started in."""

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from study.record.environment import code_in_use, other_code
from study.record.record import load_state
from tests.commands.command import QUICK, cov_study

ROOT = Path(__file__).parent.parent.parent
RUN = ("run", "--preset", "smoke", "--out", "study", *QUICK, "-o", "arms={cov: {}}")


@pytest.mark.slow
def test_files_where_the_command_is_started_are_not_what_trains(tmp_path):
    for name in ("trainables.py", "monai.py"):
        (tmp_path / name).write_text("raise RuntimeError('not what is installed')")
    done = cov_study(*RUN, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (driver,) = load_state(tmp_path / "study").drivers
    assert driver.code == code_in_use()


def checkout(folder: Path, *packages: str) -> Path:
    """Packages by the names of ours that hold next to nothing."""
    for name in packages:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"NAME = {name!r}\n")
    return folder


def say(expression: str, *path: Path) -> str:
    """What `expression` is in a new process that imports from these folders first, once ours are imported."""
    program = f"import sys; sys.path[:0] = {list(map(str, path))!r}\n{expression}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=False)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_a_digest_is_of_names_and_bytes_in_a_folder_or_a_zip_file(tmp_path):
    folder = checkout(tmp_path / "folder", "anything")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.write(folder / "anything" / "__init__.py", "anything/__init__.py")
    ask = "from trainables.proof import source_digest; print(source_digest('anything'))"
    found = say(ask, ROOT, folder)
    assert len(found) == 12
    assert say(ask, ROOT, tmp_path / "packed.zip") == found
    (folder / "anything" / "more.py").write_text("")
    assert say(ask, ROOT, folder) != found


def test_packages_from_several_folders_are_refused(tmp_path):
    ask = "import trainables.proof, study.record.environment\nprint(study.record.environment.code_in_use())"
    told = say(ask, checkout(tmp_path, "search_spaces"), ROOT)
    assert told.startswith("trainables.errors.UserError: cov-study's packages come from several folders")
    assert f"`search_spaces` from {tmp_path}" in told
    assert f"`trainables` from {ROOT}" in told


def test_a_node_with_other_code_is_told():
    code = code_in_use()
    assert other_code(code, [], {}) is None
    other = replace(code, digests={**code.digests, "trainables": "0123456789ab"})
    problem = other_code(other, [], {})
    assert problem is not None
    assert f"`trainables` is not the driver's: {ROOT / 'trainables'} has the digest" in problem
