"""Prepared arrays: right, cached, whole or absent, in bounded memory, without identifiers."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from study.engine.images import describe
from tests.waiting import wait_for
from trainables.cohort import CohortConfig, PreparedCohort, find_cohort, prepare
from trainables.cohort.geometry import as_slices
from trainables.errors import UserError

RAS = nib.orientations.axcodes2ornt("RAS")


def _prepare(root: Path, cache: Path, **settings: object) -> PreparedCohort:
    config = CohortConfig(**settings)
    return prepare(find_cohort(root, config), config, cache)


def _read(root: Path, name: str, end: str) -> np.ndarray:
    return np.asarray(nib.load(root / name / "anat" / f"{name}_{end}.nii.gz").dataobj)


EARLY, DELAYED = "acq-early_ce-gadobutrol_T1w", "acq-delayed_ce-gadobutrol_T1w"


@pytest.mark.parametrize("axis", ["sagittal", "coronal", "axial"])
def test_each_subjects_rows_hold_its_slices(tmp_path: Path, make_bids, axis: str) -> None:
    """Worked out again from the files: percentiles inside the mask of the source scale both images."""
    root = make_bids(tmp_path / "bids")
    prepared = _prepare(root, tmp_path / "cache", axis=axis, percentiles=(1, 98))
    assert prepared.source.dtype == prepared.target.dtype == np.float32
    assert prepared.mask.dtype == bool
    assert prepared.source.shape == prepared.target.shape == prepared.mask.shape
    assert prepared.source.shape[1] % 8 == prepared.source.shape[2] % 8 == 0
    assert [subject.pseudonym for subject in prepared.subjects] == [f"subject-00{n}" for n in (1, 2, 3, 4)]
    assert prepared.subjects[0].start == 0
    assert prepared.subjects[-1].stop == len(prepared.source)
    for number, subject in enumerate(prepared.subjects, 1):
        name = f"sub-{number:02d}"
        mask = _read(root, name, "label-brain_mask") > 0
        early, delayed = _read(root, name, EARLY), _read(root, name, DELAYED)
        low, high = np.percentile(early[mask], (1, 98))
        rows = slice(subject.start, subject.stop)
        inside = prepared.mask[rows]
        # Nothing of the mask is cut off, and its first and last slice are the first and last row.
        assert inside.sum() == mask.sum()
        assert inside[0].any()
        assert inside[-1].any()
        order = as_slices(mask, axis)
        for array, image in ((prepared.source, early), (prepared.target, delayed)):
            expected = (as_slices(image, axis)[order] - low) / (high - low)
            np.testing.assert_allclose(array[rows][inside], expected, atol=1e-5)
        if number % 2:
            assert prepared.lesion is not None
            assert prepared.lesion[rows].sum() == _read(root, name, "label-lesion_mask").sum()
        else:
            assert not prepared.lesion[rows].any()
        assert (subject.geometry.low, subject.geometry.high) == (low, high)


def test_the_targets_own_brightness_is_not_normalised_away(tmp_path: Path, make_bids, write_image) -> None:
    root = make_bids(tmp_path / "bids")
    before = _prepare(root, tmp_path / "cache")
    write_image(root / "sub-01" / "anat" / f"sub-01_{DELAYED}.nii.gz", _read(root, "sub-01", DELAYED) * 1.25)
    after = _prepare(root, tmp_path / "cache")
    first = before.subjects[0]
    rows, zero = slice(first.start, first.stop), -first.geometry.low / (first.geometry.high - first.geometry.low)
    np.testing.assert_allclose(after.target[rows] - zero, 1.25 * (before.target[rows] - zero), atol=1e-5)
    np.testing.assert_array_equal(after.source, before.source)


def test_how_files_are_stored_does_not_matter(tmp_path: Path, make_bids) -> None:
    """Each file of a subject in another order of axes, another type, packed or not: the same arrays."""
    root = make_bids(tmp_path / "bids")
    before = _prepare(root, tmp_path / "cache")
    forms = zip(sorted((root / "sub-01" / "anat").iterdir()), ("LPI", "ASR", "RAS", "PIR"), strict=True)
    for path, codes in forms:
        image = nib.load(path)
        image = image.as_reoriented(nib.orientations.ornt_transform(RAS, nib.orientations.axcodes2ornt(codes)))
        image.set_data_dtype(np.float64)
        nib.save(nib.Nifti2Image.from_image(image), path.with_suffix(""))  # .nii
        path.unlink()
    after = _prepare(root, tmp_path / "cache")
    for name in ("source", "target", "mask", "lesion"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_no_lesion_masks_no_lesion_array(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids")
    for path in root.rglob("*lesion_mask*"):
        path.unlink()
    assert _prepare(root, tmp_path / "cache").lesion is None


def test_without_masks_the_foreground_counts(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids")
    given = _prepare(root, tmp_path / "cache")
    for path in root.rglob("*brain_mask*"):
        path.unlink()
    found = _prepare(root, tmp_path / "cache")
    assert found.provenance["num_masks"] == {"given": 0, "foreground": 4}
    assert found.mask.sum() == pytest.approx(given.mask.sum(), rel=0.1)


def test_splits_and_provenance(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids", num_subjects=6)
    prepared = _prepare(root, tmp_path / "cache", num_train=2, num_validation=1, num_test=2)
    sizes = {name: len(prepared.split(name)) for name in ("train", "validation", "test")}
    assert sizes == {"train": 2, "validation": 1, "test": 2}
    names = [subject.pseudonym for name in sizes for subject in prepared.split(name)]
    assert len(set(names)) == 5
    text = json.dumps(prepared.provenance)
    assert "sub-" not in text
    assert str(tmp_path) not in text


def test_the_digest_knows_images_and_splits(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids")
    digests = [_prepare(root, tmp_path / "cache", seed=seed).provenance["digest"] for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    assert len(list((tmp_path / "cache").iterdir())) == 1
    make_bids(tmp_path / "bids", seed=7)
    assert _prepare(root, tmp_path / "cache").provenance["digest"] not in digests


def test_a_subjects_scans_stay_in_one_split(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids", num_subjects=6)
    lines = ["subject,source,target,mask"]
    for number in range(1, 7):
        name = f"sub-{number:02d}"
        ends = ",".join(f"{name}/anat/{name}_{end}.nii.gz" for end in (EARLY, DELAYED, "label-brain_mask"))
        lines.append(f"person-{(number + 1) // 2},{ends}")
    (root / "pairs.csv").write_text("\n".join(lines))
    prepared = _prepare(root / "pairs.csv", tmp_path / "cache")
    assert [s.pseudonym for s in prepared.subjects] == [f"subject-00{n}-scan-{k}" for n in (1, 2, 3) for k in (1, 2)]
    assert prepared.scans == {f"subject-00{n}-scan-{k}": f"subject-00{n}" for n in (1, 2, 3) for k in (1, 2)}
    described = describe(prepared)
    assert (described["num_subjects"], described["num_scans"]) == (3, 6)
    assert described["splits"] == {"train": 1, "validation": 1, "test": 1}
    splits = [subject.split for subject in prepared.subjects]
    assert splits[::2] == splits[1::2]
    assert sorted(splits[::2]) == ["test", "train", "validation"]


def test_identifiers_only_when_asked_for(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids")
    named = _prepare(root, tmp_path / "cache", pseudonyms=False)
    assert [subject.pseudonym for subject in named.subjects] == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert named.scans == {}


def test_without_pseudonyms_two_names_must_not_become_one(tmp_path: Path, make_bids) -> None:
    """Scores go by these names, so two subjects would become one."""
    root = make_bids(tmp_path / "bids")
    lines = ["subject,source,target,mask"]
    for name, subject in zip(("sub-01", "sub-02", "sub-03", "sub-04"), ("a b", "a_b", "c", "d"), strict=True):
        ends = ",".join(f"{name}/anat/{name}_{end}.nii.gz" for end in (EARLY, DELAYED, "label-brain_mask"))
        lines.append(f"{subject},{ends}")
    (root / "pairs.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match="two would be called a_b; rename one"):
        _prepare(root / "pairs.csv", tmp_path / "cache", pseudonyms=False)
    assert _prepare(root / "pairs.csv", tmp_path / "cache").scans == {}
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert b"sub-0" not in kept
    assert os.fsencode(root) not in kept


# The cache


def _entries(cache: Path) -> dict[str, int]:
    return {path.name: (path / "source.npy").stat().st_mtime_ns for path in cache.iterdir()}


def test_the_cache_knows_content_and_settings(tmp_path: Path, make_bids) -> None:
    root, cache = make_bids(tmp_path / "bids"), tmp_path / "cache"
    first = _prepare(root, cache)
    entries = _entries(cache)
    assert len(entries) == 1
    # What does not change the arrays does not make new ones; nor does the folder's name.
    shutil.copytree(root, tmp_path / "moved")
    again = _prepare(tmp_path / "moved", cache, seed=5, neighbours=1, pseudonyms=False)
    np.testing.assert_array_equal(first.source, again.source)
    assert _entries(cache) == entries
    _prepare(root, cache, percentiles=(1, 99))
    _prepare(root, cache, axis="coronal")
    next(root.rglob("*lesion_mask*")).unlink()
    _prepare(root, cache)
    assert len(_entries(cache)) == 4
    assert entries.items() <= _entries(cache).items()


def test_arrays_are_mapped_and_read_only_and_travel_whole(tmp_path: Path, make_bids) -> None:
    prepared = _prepare(make_bids(tmp_path / "bids"), tmp_path / "cache")
    for array in (prepared.source, prepared.target, prepared.mask, prepared.lesion):
        assert type(array) is np.ndarray
        assert isinstance(array.base, np.memmap)
        assert not array.flags.writeable
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(prepared, protocol=5, buffer_callback=buffers.append)
    # The object store shares what travels beside the pickle: here, all of the pixels.
    assert len(content) < 20_000
    assert len(buffers) == 4
    twin = pickle.loads(content, buffers=buffers)
    np.testing.assert_array_equal(twin.source, prepared.source)
    assert twin.subjects == prepared.subjects


SCRIPT = """
import sys
from pathlib import Path
from trainables.cohort import CohortConfig, find_cohort, prepare
config = CohortConfig()
prepared = prepare(find_cohort(Path(sys.argv[1]), config), config, Path(sys.argv[2]))
print(prepared.source.sum())
"""


def _start(root: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, root, cache], stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once(tmp_path: Path, make_bids) -> None:
    root, cache = make_bids(tmp_path / "bids", num_subjects=12, shape=(30, 30, 30)), tmp_path / "cache"
    both = [_start(root, cache) for _ in range(2)]
    outputs = {process.communicate()[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(outputs) == 1
    assert len(list(cache.iterdir())) == 1


def test_killed_in_the_middle(tmp_path: Path, make_bids) -> None:
    root, cache = make_bids(tmp_path / "bids", num_subjects=12, shape=(48, 48, 48)), tmp_path / "cache"
    process = _start(root, cache)
    wait_for(lambda: list(cache.glob(".preparing-*/source.npy")), process, "could not be killed", pause=0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (left,) = cache.iterdir()
    assert left.name.startswith(".preparing-")
    prepared = _prepare(root, cache)
    np.testing.assert_array_equal(prepared.source, _prepare(root, tmp_path / "fresh").source)
    # Fresh leftovers may be another process at work; a day later they are swept away.
    assert left.exists()
    os.utime(left, (time.time() - 90_000,) * 2)
    _prepare(root, cache, axis="coronal")
    assert not left.exists()
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_cache_is_said(tmp_path: Path, make_bids) -> None:
    root, cache = make_bids(tmp_path / "bids"), tmp_path / "cache"
    _prepare(root, cache)
    (folder,) = cache.iterdir()
    os.truncate(folder / "target.npy", 1000)
    with pytest.raises(UserError, match=rf"{folder}: this cache is damaged .*; delete the folder"):
        _prepare(root, cache)
    (folder / "source.npy").unlink()
    with pytest.raises(UserError, match="damaged"):
        _prepare(root, cache)


def test_a_failed_preparation_leaves_nothing(tmp_path: Path, make_bids) -> None:
    root, cache = make_bids(tmp_path / "bids"), tmp_path / "cache"
    path = root / "sub-03" / "anat" / f"sub-03_{DELAYED}.nii.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=rf"{path.name}: truncated"):
        _prepare(root, cache)
    assert list(cache.iterdir()) == []


def test_memory_is_bounded(tmp_path: Path, make_bids) -> None:
    """At most twice one subject's volumes (two float32 images and two masks), whatever the number of subjects."""
    shape = (64, 64, 64)
    root = make_bids(tmp_path / "bids", num_subjects=8, shape=shape)
    _prepare(root, tmp_path / "first")  # imports done
    tracemalloc.start()
    try:
        _prepare(root, tmp_path / "cache")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes <= 2 * (4 + 4 + 1 + 1) * np.prod(shape)


# Refusals


def test_a_broken_cohort_is_refused_with_all_files_named(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids", num_subjects=8)
    broken = sorted(root.rglob(f"*{DELAYED}*"))[:4]
    for path in broken:
        path.write_bytes(b"")
    with pytest.raises(UserError) as raised:
        _prepare(root, tmp_path / "cache")
    message = str(raised.value)
    assert all(f"{path}: is empty" in message for path in broken[:3])
    assert "and 1 more" in message
    assert "\n" not in message
    missing = root / "sub-01" / "anat" / f"sub-01_{EARLY}.nii.gz"
    missing.unlink()
    with pytest.raises(UserError, match="sub-01: no source"):
        _prepare(root, tmp_path / "cache")


def test_one_image_under_two_names_is_refused(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids")
    early, delayed = (root / "sub-01" / "anat" / f"sub-01_{end}.nii.gz" for end in (EARLY, DELAYED))
    original = delayed.read_bytes()
    shutil.copy(early, delayed)
    with pytest.raises(UserError, match="is the same image as its source"):
        _prepare(root, tmp_path / "cache")
    delayed.write_bytes(original)
    shutil.copy(early, root / "sub-02" / "anat" / f"sub-02_{EARLY}.nii.gz")
    with pytest.raises(UserError, match=r"sub-02.*is the same image as .*sub-01"):
        _prepare(root, tmp_path / "cache")


def test_too_few_subjects(tmp_path: Path, make_bids) -> None:
    with pytest.raises(UserError, match="has 2 subjects, but 3 are needed"):
        _prepare(make_bids(tmp_path / "bids", num_subjects=2), tmp_path / "cache")


def test_a_cache_that_cannot_be_written(tmp_path: Path, make_bids) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    with pytest.raises(UserError, match="cannot be written"):
        _prepare(make_bids(tmp_path / "bids"), tmp_path / "cache")


# Inputs


def test_neighbours_stay_within_the_subject(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids")
    prepared = _prepare(root, tmp_path / "cache", neighbours=2)
    first, second = prepared.subjects[:2]
    rows = np.array([first.start, first.stop - 2, second.start + 1, second.start])
    inputs = prepared.source[prepared.with_neighbours(rows)]
    assert inputs.shape == (4, 5, *prepared.source.shape[1:])
    a, b, c = first.start, first.stop - 1, second.start
    expected = [
        [a, a, a, a + 1, a + 2],
        [b - 3, b - 2, b - 1, b, b],
        [c, c, c + 1, c + 2, c + 3],
        [c, c, c, c + 1, c + 2],
    ]
    np.testing.assert_array_equal(inputs, prepared.source[np.array(expected)])
    plain = _prepare(root, tmp_path / "cache")
    np.testing.assert_array_equal(plain.with_neighbours(rows), rows[:, None])


def test_subjects_of_other_grids_share_one_size(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids", num_subjects=2)
    make_bids(tmp_path / "other", num_subjects=3, shape=(30, 20, 25), seed=9)
    shutil.move(tmp_path / "other" / "sub-03", root / "sub-03")
    prepared = _prepare(root, tmp_path / "cache")
    assert prepared.subjects[2].geometry.shape == (30, 20, 25)
    assert prepared.source.shape[1:] == (16, 24)
    for number, subject in enumerate(prepared.subjects, 1):
        mask = _read(root, f"sub-{number:02d}", "label-brain_mask")
        assert prepared.mask[subject.start : subject.stop].sum() == mask.sum()
