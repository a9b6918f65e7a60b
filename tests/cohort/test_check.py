"""A check lists everything and stops at nothing; its picture shows a pair that is not registered."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.cohort import CohortConfig, check
from trainables.cohort.contact_sheet import SIDE, contact_sheet
from trainables.errors import UserError

EARLY, DELAYED = "acq-early_ce-gadobutrol_T1w", "acq-delayed_ce-gadobutrol_T1w"


def _file(root: Path, number: int, end: str) -> Path:
    return root / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_{end}.nii.gz"


def test_a_sound_cohort(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids", num_subjects=5)
    seen: list[tuple[int, int]] = []
    report = check(root, CohortConfig(), progress=lambda done, total: seen.append((done, total)))
    assert report.ok
    assert seen == [(number, 5) for number in range(1, 6)]
    assert report.summary == {
        "dataset": "",
        "simulated": False,
        "num_subjects": 5,
        "num_scans": 5,
        "num_problems": 0,
        "splits": {"train": 3, "validation": 1, "test": 1},
        "groups": {},
        "shapes": {"14x18x12": 5},
        "voxel_sizes_mm": {"2.0 x 2.0 x 2.0": 5},
        "source_range": [0.0, 999.0],
        "target_range": report.summary["target_range"],
        "num_given_masks": 5,
        "num_with_lesion": 3,
    }
    first = report.rows[0]
    assert (first["subject"], first["pseudonym"], first["orientation"]) == ("sub-01", "subject-001", "RAS")
    assert (first["shape"], first["num_lesion_voxels"], first["num_problems"]) == ([14, 18, 12], 8, 0)
    assert json.loads(json.dumps([report.summary, *report.rows])) == [report.summary, *report.rows]


def test_identity_by_hand(tmp_path: Path, make_bids, write_image) -> None:
    """Source 0..100 in the mask, target 10 above or below it, so on a scale of 100 it is 0.1 off: 20 dB."""
    root = make_bids(tmp_path / "bids", num_subjects=3)
    ramp = np.zeros((14, 18, 12), dtype=np.int16)
    mask = np.zeros(ramp.shape, dtype=np.uint8)
    mask.reshape(-1)[:101] = 1
    ramp.reshape(-1)[:101] = np.arange(101)
    write_image(_file(root, 1, EARLY), ramp)
    write_image(_file(root, 1, DELAYED), ramp + np.where(ramp % 2, 10, -10).astype(np.int16) * mask)
    write_image(_file(root, 1, "label-brain_mask"), mask)
    report = check(root, CohortConfig(percentiles=(0, 100)))
    assert report.rows[0]["range"] == [0.0, 100.0]
    assert report.rows[0]["identity_psnr_db"] == 20.0


def test_every_problem_of_every_subject_is_listed(tmp_path: Path, make_bids, write_image) -> None:
    root = make_bids(tmp_path / "bids", num_subjects=8)
    # 1: source, target and mask are all broken, each in its way.
    _file(root, 1, EARLY).write_bytes(b"")
    _file(root, 1, DELAYED).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    cut = _file(root, 1, "label-brain_mask")
    cut.write_bytes(cut.read_bytes()[:-20])
    # 2: the mask and the target are on other grids.
    write_image(_file(root, 2, "label-brain_mask"), np.ones((13, 18, 12), dtype=np.uint8))
    shifted = np.diag([2.0, 2, 2, 1])
    shifted[0, 3] = 2
    write_image(_file(root, 2, DELAYED), np.arange(14 * 18 * 12, dtype=np.int16).reshape(14, 18, 12), shifted)
    # 3: no target. 4: empty mask. 5: the source is that of 6.
    _file(root, 3, DELAYED).unlink()
    write_image(_file(root, 4, "label-brain_mask"), np.zeros((14, 18, 12), dtype=np.uint8))
    shutil.copy(_file(root, 6, EARLY), _file(root, 5, EARLY))
    report = check(root, CohortConfig())
    found = [(problem.subject, problem.message) for problem in report.problems]
    expected = [
        ("sub-01", "is empty"),
        ("sub-01", "git lfs pull"),
        ("sub-01", "truncated"),
        ("sub-02", "its shape is 13x18x12, not 14x18x12"),
        ("sub-02", "up to 2 mm away"),
        ("sub-03", "no target"),
        ("sub-04", "the mask is empty"),
        ("sub-06", "is the same image as"),
    ]
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, message), (_, part) in zip(found, expected, strict=True):
        assert part in message
        assert "\n" not in message
    assert not report.ok
    assert report.summary["num_problems"] == 8
    assert [row["num_problems"] for row in report.rows] == [3, 2, 1, 0, 0, 0, 0]
    json.dumps([report.summary, *report.rows])
    contact_sheet(report, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").exists()


def test_too_few_subjects_are_a_problem_of_the_whole(tmp_path: Path, make_bids) -> None:
    report = check(make_bids(tmp_path / "bids", num_subjects=2), CohortConfig())
    (problem,) = report.problems
    assert problem.subject == ""
    assert "3 are needed" in problem.message
    assert [row["split"] for row in report.rows] == [None, None]


def test_resampling_is_noted(tmp_path: Path, make_bids, write_image) -> None:
    root = make_bids(tmp_path / "bids", num_subjects=3)
    fine = np.random.default_rng(0).integers(1, 900, (28, 36, 24)).astype(np.int16)
    write_image(_file(root, 1, DELAYED), fine, np.diag([1.0, 1, 1, 1]))
    assert not check(root, CohortConfig()).ok
    report = check(root, CohortConfig(resample=True))
    assert report.ok
    assert report.rows[0]["notes"] == ["target resampled: its shape is 28x36x24, not 14x18x12"]


def test_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sub-"):
        check(tmp_path, CohortConfig())


def _panels(path: Path) -> list[np.ndarray]:
    """Source, target and difference of the first scan, without the outline."""
    sheet = np.asarray(Image.open(path).convert("RGB")).astype(int)
    top = 3 * 18 + 6 + 18  # heading, gap, caption
    return [sheet[top : top + SIDE, 6 + i * SIDE : 6 + (i + 1) * SIDE] for i in range(3)]


def _outlined(panel: np.ndarray) -> np.ndarray:
    return (panel == (255, 210, 60)).all(axis=-1)


def test_the_contact_sheet_shows_what_does_not_match(tmp_path: Path, make_bids, write_image) -> None:
    root = make_bids(tmp_path / "bids", num_subjects=3, shape=(40, 48, 32))
    source = np.asarray(_smooth((40, 48, 32)) * 1000, dtype=np.int16)
    noise = np.random.default_rng(0).integers(0, 30, source.shape).astype(np.int16)
    write_image(_file(root, 1, EARLY), source)

    def sheet(target: np.ndarray) -> list[np.ndarray]:
        write_image(_file(root, 1, DELAYED), target)
        report = check(root, CohortConfig())
        assert report.ok
        contact_sheet(report, tmp_path / "sheet.png")
        return _panels(tmp_path / "sheet.png")

    matching, shifted = sheet(source + noise), sheet(np.roll(source, 4, axis=0))
    for panel in matching:
        assert _outlined(panel).sum() > SIDE
        assert (_outlined(panel) == _outlined(matching[0])).all()
    colour = [np.ptp(np.where(_outlined(p)[..., None], 0, p), axis=-1).mean() for p in (matching[2], shifted[2])]
    assert colour[1] > 3 * colour[0]
    assert (np.ptp(matching[0][~_outlined(matching[0])], axis=-1) == 0).all()  # images are grey


def _smooth(shape: tuple[int, int, int]) -> np.ndarray:
    axes = np.meshgrid(*[np.linspace(0, 6, side) for side in shape], indexing="ij")
    return 0.5 + 0.5 * np.sin(axes[0] * 2) * np.cos(axes[1] * 2)


def test_the_contact_sheet_names_no_one(tmp_path: Path, make_bids) -> None:
    """Pseudonyms by default; the picture's size follows the number of scans."""
    report = check(make_bids(tmp_path / "bids", num_subjects=7), CohortConfig())
    assert set(report.thumbnails) == {f"subject-00{number}" for number in range(1, 8)}
    contact_sheet(report, tmp_path / "sheet.png")
    picture = Image.open(tmp_path / "sheet.png")
    assert picture.size == (6 + 3 * (3 * SIDE + 6), 60 + 3 * (SIDE + 24))
    assert not picture.info
    with pytest.raises(UserError, match="cannot be written"):
        contact_sheet(report, tmp_path / "absent" / "sheet.png")
