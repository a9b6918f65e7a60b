"""The cohort as a folder: the same bytes, whole subjects only, and nobody else's files touched."""

import csv
import gzip
import hashlib
import json
import multiprocessing
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.waiting import PATIENCE_SECONDS, wait_for
from trainables.cohort import CohortConfig, find_cohort, prepare
from trainables.cohort.virtual import VirtualCohortConfig, simulate_cohort
from trainables.cohort.virtual.bids import is_whole
from trainables.cohort.virtual.simulate import plan_subjects
from trainables.errors import UserError

CONFIG = VirtualCohortConfig(num_subjects=4, resolution=6.0, num_train=2, num_validation=1, num_test=1)


def _digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cohort, simulated by one process; tests don't change it."""
    return simulate_cohort(tmp_path_factory.mktemp("cohort") / "new" / "virtual", CONFIG, num_workers=1)


def test_layout(cohort: Path) -> None:
    names = {
        "acq-early_ce-gadobutrol_T1w.nii.gz",
        "acq-delayed_ce-gadobutrol_T1w.nii.gz",
        "label-brain_mask.nii.gz",
        "label-lesion_mask.nii.gz",
        "parameters.json",
    }
    for label in ("sub-001", "sub-002", "sub-003", "sub-004"):
        assert {path.name for path in (cohort / label / "anat").iterdir()} == {f"{label}_{name}" for name in names}
    assert {path.name for path in cohort.iterdir() if not path.name.startswith("sub-")} == {
        ".lock",
        "README",
        "dataset_description.json",
        "participants.tsv",
        "acq-early_ce-gadobutrol_T1w.json",
        "acq-delayed_ce-gadobutrol_T1w.json",
    }
    description = json.loads((cohort / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "cov-study virtual cohort"
    assert description["Simulated"] is True
    assert VirtualCohortConfig.model_validate(description["VirtualCohortConfig"]) == CONFIG
    with open(cohort / "participants.tsv", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [row["participant_id"] for row in rows] == ["sub-001", "sub-002", "sub-003", "sub-004"]
    assert [row["split"] for row in rows] == ["train", "train", "validation", "test"]
    for row in rows:
        label = row["participant_id"]
        drawn = json.loads((cohort / label / "anat" / f"{label}_parameters.json").read_text())
        assert drawn["lesion_kind"] == row["group"]


def test_images_are_one_grid_in_mm(cohort: Path) -> None:
    images = [nibabel.load(path) for path in sorted((cohort / "sub-001" / "anat").glob("*.nii.gz"))]
    for image in images:
        assert image.shape == images[0].shape
        np.testing.assert_array_equal(image.affine, images[0].affine)
        assert image.header.get_zooms() == (6, 6, 6)
        assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
        assert image.header["sform_code"] == image.header["qform_code"] == 1
    assert [image.get_data_dtype().name for image in images] == ["int16", "int16", "uint8", "uint8"]
    early = np.asarray(images[1].dataobj)[np.asarray(images[2].dataobj) > 0]
    assert 300 < np.median(early) < 1500  # many integers deep
    assert early.max() < np.iinfo(np.int16).max


def test_enters_through_the_same_door_as_a_hospitals_data(cohort: Path, tmp_path: Path) -> None:
    config = CohortConfig()
    prepared = prepare(find_cohort(cohort, config), config, tmp_path)
    assert [len(prepared.split(name)) for name in ("train", "validation", "test")] == [2, 1, 1]
    assert prepared.provenance["simulated"] is True
    assert prepared.lesion is not None
    assert prepared.lesion.any()


def test_more_processes_give_the_same_bytes(cohort: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    simulate_cohort(tmp_path / "two", CONFIG, num_workers=2, progress=lambda *done: seen.append(done))
    assert _digests(tmp_path / "two") == _digests(cohort)
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert not multiprocessing.active_children()


def test_another_seed_gives_other_people(cohort: Path, tmp_path: Path) -> None:
    other = simulate_cohort(tmp_path / "other", CONFIG.model_copy(update={"seed": 1}), num_workers=1)
    mine, theirs = _digests(cohort), _digests(other)
    images = [name for name in mine if name.endswith("nii.gz")]
    assert all(mine[name] != theirs[name] for name in images)
    assert len({mine[name] for name in images}) == len(images)


def _copy(cohort: Path, target: Path) -> Path:
    subprocess.run(["cp", "-rp", cohort, target], check=True)
    return target


def test_goes_on_where_it_stopped(cohort: Path, tmp_path: Path) -> None:
    mine = _copy(cohort, tmp_path / "mine")
    anat = mine / "sub-002" / "anat"
    (anat / "sub-002_label-lesion_mask.nii.gz").unlink()
    early = mine / "sub-003" / "anat" / "sub-003_acq-early_ce-gadobutrol_T1w.nii.gz"
    early.write_bytes(early.read_bytes()[:-20])
    (mine / "participants.tsv").unlink()
    (mine / ".partial" / "left-by-a-kill").mkdir(parents=True)
    kept = mine / "sub-001" / "anat" / "sub-001_acq-early_ce-gadobutrol_T1w.nii.gz"
    before = kept.stat()
    seen: list[tuple[int, int]] = []
    simulate_cohort(mine, CONFIG, num_workers=1, progress=lambda *done: seen.append(done))
    assert _digests(mine) == _digests(cohort)
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert seen == [(2, 4), (3, 4), (4, 4)]


@given(position=st.integers(0, 10**9), bit=st.integers(0, 7))
@settings(max_examples=30, deadline=None)
def test_damage_is_seen(cohort: Path, tmp_path_factory: pytest.TempPathFactory, position: int, bit: int) -> None:
    original = cohort / "sub-001" / "anat" / "sub-001_acq-early_ce-gadobutrol_T1w.nii.gz"
    mine = tmp_path_factory.mktemp("damage") / "sub-001"
    _copy(cohort / "sub-001", mine)
    content = bytearray(original.read_bytes())
    content[position % len(content)] ^= 1 << bit
    (mine / "anat" / original.name).write_bytes(content)
    if is_whole(mine, "gadobutrol"):  # only a byte of the gzip header that means nothing may change
        assert gzip.decompress(content) == gzip.decompress(original.read_bytes())


def test_survives_being_killed(cohort: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from trainables.cohort.virtual import VirtualCohortConfig, simulate_cohort\n"
        "config = VirtualCohortConfig.model_validate_json(sys.argv[2])\n"
        "simulate_cohort(Path(sys.argv[1]), config, num_workers=1)\n"
    )
    mine = tmp_path / "mine"
    process = subprocess.Popen([sys.executable, "-c", script, mine, CONFIG.model_dump_json()])
    wait_for((mine / "sub-001").exists, process, pause=0.002)
    process.kill()
    process.wait()
    for folder in mine.glob("sub-*"):
        assert is_whole(folder, "gadobutrol")
    simulate_cohort(mine, CONFIG, num_workers=1)
    assert _digests(mine) == _digests(cohort)


def test_an_interrupt_leaves_whole_subjects_and_no_processes(cohort: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_cohort(tmp_path / "mine", CONFIG, num_workers=2, progress=interrupt)
    assert not multiprocessing.active_children()
    assert not (tmp_path / "mine" / "participants.tsv").exists()
    simulate_cohort(tmp_path / "mine", CONFIG, num_workers=1)
    assert _digests(tmp_path / "mine") == _digests(cohort)


def test_two_at_once_wait_for_each_other(cohort: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    with ThreadPoolExecutor(1) as thread:
        waiting: list[Future[Path]] = []

        def interrupt(done: int, total: int) -> None:
            if done == 0:  # the other comes while this one works
                waiting.append(thread.submit(simulate_cohort, mine, CONFIG, num_workers=1))
            if done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            simulate_cohort(mine, CONFIG, num_workers=1, progress=interrupt)
        waiting[0].result(timeout=PATIENCE_SECONDS)
    assert _digests(mine) == _digests(cohort)


def test_another_config_is_refused_by_name(cohort: Path) -> None:
    before = _digests(cohort)
    other = CONFIG.model_copy(update={"protocol": CONFIG.protocol.model_copy(update={"dose_mmol_per_kg": 0.2})})
    with pytest.raises(UserError, match=r"protocol\.dose_mmol_per_kg 0\.1, not 0\.2"):
        simulate_cohort(cohort, other)
    assert _digests(cohort) == before


@pytest.mark.parametrize(
    "content",
    ["{}", "no json", "[]", '{"GeneratedBy": [{"Name": "fmriprep", "Version": "25"}], "VirtualCohortConfig": {}}'],
)
def test_another_data_set_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset_description.json").write_text(content)
    with pytest.raises(UserError, match="dataset_description"):
        simulate_cohort(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset_description.json"]


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="not empty"):
        simulate_cohort(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        simulate_cohort(tmp_path / name, CONFIG)


@pytest.mark.parametrize("num_workers", [0, -1])
def test_needs_a_worker(tmp_path: Path, num_workers: int) -> None:
    with pytest.raises(UserError, match="num_workers"):
        simulate_cohort(tmp_path / "new", CONFIG, num_workers=num_workers)
    assert not (tmp_path / "new").exists()


def test_each_split_holds_the_kinds_in_their_shares() -> None:
    config = VirtualCohortConfig()
    plans = plan_subjects(config)
    assert [plan.number for plan in plans] == list(range(1, 81))
    for split, count in config.splits():
        kinds = [plan.kind for plan in plans if plan.split == split]
        assert len(kinds) == count
        for kind, share in config.lesions.shares().items():
            assert abs(kinds.count(kind) - share * count) < 1
    assert plans != plan_subjects(config.model_copy(update={"seed": 1}))


def test_importing_is_light() -> None:
    script = (
        "import sys, trainables.cohort.virtual\n"
        "heavy = {'torch', 'monai', 'nilearn', 'sklearn', 'pandas', 'matplotlib', 'ray', 'mlflow', 'optuna'}\n"
        "sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
