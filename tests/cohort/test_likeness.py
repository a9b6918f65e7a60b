"""One image under two names is found, however it was stored again; two scans are never taken for one."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainables.cohort import CohortConfig, PreparedCohort, check, find_cohort, prepare
from trainables.errors import UserError

CONFIG = CohortConfig()
EARLY, DELAYED = "acq-early_ce-gadobutrol_T1w", "acq-delayed_ce-gadobutrol_T1w"
RAS = nib.orientations.axcodes2ornt("RAS")
IN_TMP = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _file(root: Path, number: int, end: str) -> Path:
    return root / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_{end}.nii.gz"


def _prepare(root: Path, cache: Path, **changes: object) -> PreparedCohort:
    config = CohortConfig(**changes)
    return prepare(find_cohort(root, config), config, cache)


def _resave(
    path: Path,
    out: Path,
    *,
    codes: str = "RAS",
    dtype: str = "i2",
    packed: bool = False,
    level: int = 6,
    gain: float = 1.0,
    unit: str = "mm",
) -> None:
    """Writes an image once more: its axes turned, another type (`packed`: scaled to the whole of it), another gain."""
    image = nib.load(path)
    image = image.as_reoriented(nib.orientations.ornt_transform(RAS, nib.orientations.axcodes2ornt(codes)))
    data = image.get_fdata() * gain
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_xyzt_units(unit)
    header["descrip"] = b"saved by another program"
    if packed:
        limits = np.iinfo(dtype)
        slope = np.ptp(data) / (limits.max - limits.min)
        header.set_slope_inter(slope, data.min() - limits.min * slope)
    with nib.openers.Opener(out, "wb", compresslevel=level) as stream:
        per_mm = {"mm": 1, "micron": 1000}[unit]
        nib.Nifti1Image(data, np.diag([per_mm, per_mm, per_mm, 1]) @ image.affine, header).to_stream(stream)


STORED = {
    "compressed anew": {"level": 1},
    "float": {"dtype": "f4"},
    "turned": {"codes": "LPI"},
    "turned float of another gain": {"codes": "ASR", "dtype": "f8", "gain": 0.3},
    "scaled integers": {"dtype": "i2", "packed": True},
    "8 bits": {"dtype": "u1", "packed": True},
    "another unit": {"unit": "micron"},
}


@pytest.mark.parametrize("changes", STORED.values(), ids=STORED)
@pytest.mark.parametrize("role", [EARLY, DELAYED])
def test_a_copy_in_another_dress_is_refused(tmp_path: Path, make_bids, changes: dict[str, object], role: str) -> None:
    root = make_bids(tmp_path / "bids")
    _resave(_file(root, 1, EARLY), _file(root, 3, role), **changes)
    with pytest.raises(UserError, match=rf"sub-03_{role}\S+: is the same image as \S+sub-01_{EARLY}\S+ of sub-01"):
        _prepare(root, tmp_path / "cache")
    named = [problem for problem in check(root, CONFIG).problems if "is the same image" in problem.message]
    assert [problem.subject for problem in named] == ["sub-03"]


@pytest.mark.parametrize("changes", STORED.values(), ids=STORED)
def test_a_target_that_is_its_source_is_refused(tmp_path: Path, make_bids, changes: dict[str, object]) -> None:
    root = make_bids(tmp_path / "bids")
    _resave(_file(root, 2, EARLY), _file(root, 2, DELAYED), **changes)
    for refused in (_prepare, _prepare):  # the cache is warm the second time
        with pytest.raises(UserError, match=rf"sub-02_{DELAYED}\S+: is the same image as its source"):
            refused(root, tmp_path / "cache")


def test_a_target_that_is_its_source_with_another_background(tmp_path: Path, make_bids, write_image) -> None:
    root = make_bids(tmp_path / "bids")
    data = nib.load(_file(root, 2, EARLY)).get_fdata()
    write_image(_file(root, 2, DELAYED), np.where(data > 0, data, -1000).astype(np.float32))
    with pytest.raises(UserError, match=rf"sub-02_{DELAYED}\S+: is inside the mask the same image as its source"):
        _prepare(root, tmp_path / "cache")
    assert not check(root, CONFIG).ok


@IN_TMP
@given(
    codes=st.permutations("RAS").flatmap(
        lambda axes: st.tuples(*(st.sampled_from([axis, "LPI"["RAS".index(axis)]]) for axis in axes))
    ),
    stored=st.sampled_from([("u1", True), ("i2", False), ("i2", True), ("u2", True), ("i4", True)])
    | st.tuples(st.sampled_from(["f4", "f8"]), st.just(False)),
    gain=st.floats(0.5, 30),
    noise=st.sampled_from([0.0, 0.02, 0.2]),
)
def test_an_image_is_its_copies_and_no_other_scan(
    tmp_path: Path, codes: tuple[str, ...], stored: tuple[str, bool], gain: float, noise: float
) -> None:
    """Noise of 2 % of a head's level makes another scan of it; the copy of a scan is that scan alone."""
    from trainables.cohort.likeness import RADIUS, are_same, sketch
    from trainables.cohort.nifti import load_volume

    rng = np.random.default_rng(0)
    axes = np.meshgrid(*[np.linspace(-1, 1, side) for side in (20, 22, 24)], indexing="ij")
    head = sum(axis**2 for axis in axes) < 0.6
    one = np.where(head, 500 + 200 * np.sin(9 * axes[0]) * np.cos(7 * axes[1]), 0)
    one += np.where(head, rng.normal(0, 10, one.shape), 0)
    other = one + np.where(head, rng.normal(0, 500 * noise, one.shape), 0)
    nib.save(nib.Nifti1Image(other.astype(np.float32), np.eye(4)), tmp_path / "other.nii.gz")
    dtype, packed = stored
    _resave(
        tmp_path / "other.nii.gz", tmp_path / "copy.nii.gz", codes="".join(codes), dtype=dtype, packed=packed, gain=gain
    )
    copy = load_volume(tmp_path / "copy.nii.gz").data
    for image, is_same in ((other, True), (one, noise == 0)):
        assert are_same(image.astype(np.float32), copy) == is_same
        assert are_same(copy, image.astype(np.float32)) == is_same
    distance = np.linalg.norm(np.subtract(sketch(other.astype(np.float32)), sketch(copy)))
    assert distance < RADIUS / 2


def test_distances_of_sketches_are_those_of_images() -> None:
    """Standardised images with correlation r are sqrt(2 - 2 r) apart; a sketch keeps that to about a sixth."""
    from trainables.cohort.likeness import sketch

    rng = np.random.default_rng(0)
    one, other = rng.normal(3, 2, (2, 30, 20, 25))
    for share in (0.0, 0.01, 0.1, 1.0):
        mixed = one + share * other
        apart = np.sqrt(2 - 2 * np.corrcoef(one.ravel(), mixed.ravel())[0, 1])
        assert np.linalg.norm(np.subtract(sketch(one), sketch(mixed))) == pytest.approx(apart, rel=0.35, abs=1e-5)
    assert sketch(one) == pytest.approx(sketch(7 * one - 100), abs=1e-5)


def test_one_voxel_makes_another_image() -> None:
    from trainables.cohort.likeness import are_same

    one = np.random.default_rng(0).integers(0, 900, (9, 8, 7)).astype(np.float32)
    other = one.copy()
    other[4, 4, 4] += 50
    assert are_same(one, one + 1)
    assert not are_same(one, other)
    assert not are_same(one, -one)
    assert not are_same(one, one[:, :, :6])
    few = one[:2, :2, :2]
    assert are_same(few, few.copy())
    assert not are_same(few, 2 * few)


# One subject's scans


def _manifest(root: Path, rows: list[str]) -> Path:
    path = root / "pairs.csv"
    path.write_text("\n".join(["subject,source,target,mask", *rows]))
    return path


def _row(subject: str, source: int, target: int) -> str:
    parts = (source, EARLY), (target, DELAYED), (source, "label-brain_mask")
    return ",".join([subject, *(f"sub-{n:02d}/anat/sub-{n:02d}_{end}.nii.gz" for n, end in parts)])


def test_pairs_of_a_subject_may_share_a_file(tmp_path: Path, make_bids) -> None:
    """A source with two targets is meant so; the same file copied for a second scan is not."""
    root = make_bids(tmp_path / "bids", num_subjects=6)
    rows = [_row(name, number, number) for name, number in (("b", 3), ("c", 4), ("d", 5))]
    shared = _manifest(root, [_row("a", 1, 1), _row("a", 1, 2), *rows])
    assert len(_prepare(shared, tmp_path / "cache").subjects) == 5
    shutil.copy(_file(root, 1, EARLY), _file(root, 2, EARLY))
    copied = _manifest(root, [_row("a", 1, 1), _row("a", 2, 2), *rows])
    with pytest.raises(UserError, match=rf"sub-02_{EARLY}\S+: is the same image as \S+ of a scan-1; keep it once"):
        _prepare(copied, tmp_path / "cache")


# The cache


def test_an_older_cache_is_made_again(tmp_path: Path, make_bids) -> None:
    """What was prepared before images were set against each other: the same arrays and digest, in the same folder."""
    root, cache = make_bids(tmp_path / "bids"), tmp_path / "cache"
    first = _prepare(root, cache)
    source = np.array(first.source)
    (folder,) = cache.iterdir()
    records = json.loads((folder / "prepared.json").read_text())
    for record in records:
        del record["traits"]
    (folder / "prepared.json").write_text(json.dumps(records))
    again = _prepare(root, cache)
    np.testing.assert_array_equal(again.source, source)
    assert again.provenance == first.provenance
    assert list(cache.iterdir()) == [folder]
    assert all("traits" in record for record in json.loads((folder / "prepared.json").read_text()))


def test_a_warm_cache_reads_no_volume(tmp_path: Path, make_bids, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = make_bids(tmp_path / "bids"), tmp_path / "cache"
    _prepare(root, cache)
    monkeypatch.setattr("trainables.cohort.nifti._read", None)
    assert len(_prepare(root, cache, seed=3).subjects) == 4
