"""Damaged files and full disks lose nothing; fewer workers and fresh processes change nothing."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.commands.command import cov_study, start
from tests.engine.disturbed import RUN, assert_same, num_events, stop, wait_for
from tests.waiting import PATIENCE_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]


def test_damaged_checkpoints_and_a_torn_journal_lose_nothing_with_one_worker_too(tmp_path, undisturbed):
    process = start(*RUN, "-o", "resources.workers=1", folder=tmp_path)
    wait_for(lambda: num_events(tmp_path, "measurement") >= 6, process)
    process.kill()
    process.communicate()
    for path in (tmp_path / "study" / "checkpoints").rglob("state.pt"):
        path.write_bytes(path.read_bytes()[:100])
    journal = tmp_path / "study" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    assert cov_study("resume", "study", folder=tmp_path).returncode == 0
    assert_same(tmp_path, undisturbed)


def test_damage_inside_the_journal_is_told_and_nothing_is_trained(tmp_path):
    process = start(*RUN, folder=tmp_path)
    wait_for(lambda: num_events(tmp_path, "measurement") >= 2, process)
    stop(process, signal.SIGTERM, folder=tmp_path)
    journal = tmp_path / "study" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"trial", b"trail", 1)
    journal.write_bytes(b"".join(lines))
    done = cov_study("resume", "study", folder=tmp_path)
    assert done.returncode == 1
    assert "journal.jsonl, line 3: damaged" in done.stderr
    assert journal.read_bytes() == b"".join(lines)


needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB, mounted where the study goes."""
    place = tmp_path / "study"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(path: Path) -> None:
    """Writes until the disk is full."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


@needs_mount
def test_a_full_disk_stops_the_study_and_it_goes_on_once_there_is_room(tmp_path, small_disk, undisturbed):
    process = start(*RUN, folder=tmp_path)
    wait_for(lambda: num_events(tmp_path, "measurement") >= 3, process)
    filler = small_disk / "filler"
    fill(filler)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1, err
    assert "No space left on device" in err
    assert "cov-study resume study" in err
    assert "Traceback" not in err
    filler.unlink()
    done = cov_study("resume", "study", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, undisturbed)


@needs_mount
def test_a_read_only_folder_is_told_before_anything_is_done(tmp_path, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = cov_study(*RUN, folder=tmp_path)
    assert done.returncode == 1
    assert "study: cannot be written (Read-only file system)" in done.stderr


def test_the_same_numbers_with_fresh_processes(tmp_path, undisturbed):
    done = cov_study(*RUN, "-o", "resources.reuse_actors=false", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, undisturbed)
