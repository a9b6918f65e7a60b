"""One scale for source and target needs one gain between them: cohorts without it are refused, others are not."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from trainables.cohort import CohortConfig, check, find_cohort, prepare
from trainables.errors import UserError

CONFIG = CohortConfig()
EARLY, DELAYED = "acq-early_ce-gadobutrol_T1w", "acq-delayed_ce-gadobutrol_T1w"


def _scale(root: Path, number: int, end: str, gain: float, offset: float = 0.0) -> None:
    path = root / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_{end}.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image((image.get_fdata() * gain + offset).astype(np.float32), image.affine), path)


@pytest.mark.parametrize("end", [EARLY, DELAYED])
@pytest.mark.parametrize("offset", [0.0, -1024.0])
@pytest.mark.parametrize("gain", [0.1, 0.6, 1.0, 1.3, 1.8, 10.0])
def test_gains_may_differ_by_half(tmp_path: Path, make_bids, end: str, offset: float, gain: float) -> None:
    """Of any file, with intensities from zero and with others; whichever split the scan is in."""
    root = make_bids(tmp_path / "bids")
    for number in range(1, 5):
        _scale(root, number, end, gain if number == 3 else 1.0, offset)
    report = check(root, CONFIG)
    if 1 / 1.5 < gain < 1.5:
        assert report.ok
        assert len(prepare(find_cohort(root, CONFIG), CONFIG, tmp_path / "cache").subjects) == 4
        return
    (problem,) = report.problems
    assert problem.subject == ""
    assert "the target's gain against the source varies" in problem.message
    assert "in sub-03" in problem.message
    gains = [row["gain"] for row in report.rows]
    expected = gain if end == DELAYED else 1 / gain
    assert gains[2] / np.mean(gains[:2] + gains[3:]) == pytest.approx(expected, rel=0.1)
    for _ in range(2):  # the cache is warm the second time
        with pytest.raises(UserError, match=r"the target's gain against the source varies.*in sub-03"):
            prepare(find_cohort(root, CONFIG), CONFIG, tmp_path / "cache")


def test_only_subjects_that_are_used_count(tmp_path: Path, make_bids) -> None:
    root = make_bids(tmp_path / "bids", num_subjects=6)
    few = CohortConfig(num_train=1, num_validation=1, num_test=1)
    used = prepare(find_cohort(root, few), few, tmp_path / "cache").subjects
    idle = next(number for number in range(1, 7) if f"subject-{number:03d}" not in {s.pseudonym for s in used})
    _scale(root, idle, DELAYED, 10)
    assert check(root, few).ok
    assert prepare(find_cohort(root, few), few, tmp_path / "cache").subjects == used
    assert not check(root, CONFIG).ok


def test_gains_by_hand() -> None:
    from trainables.cohort.gains import gains_of, levels_of

    ramp = np.arange(101.0)
    assert levels_of(ramp) == (5.0, 25.0, 50.0, 75.0, 95.0)
    wide = (0.0, 20.0, 55.0, 90.0, 105.0)  # another spread: medians differ least
    plain = levels_of(ramp)
    assert gains_of([(plain, plain), (plain, wide), None]) == [1.0, 1.1, None]
    below = tuple(value - 50 for value in plain)  # 0 means nothing: ranges
    assert gains_of([(plain, below), (plain, tuple(3 * value for value in below))]) == [1.0, 3.0]
    flat = (0.0, 0.0, 0.0, 0.0, 0.0)
    assert gains_of([(plain, plain), (plain, flat)]) == [1.0, None]
    assert gains_of([]) == []


def test_real_pairs_pass(study_data: Path) -> None:
    report = check(study_data / "real", CohortConfig(source_pattern="T1w", target_pattern="ce-gadolinium_T1w"))
    gains = [row["gain"] for row in report.rows]
    assert max(gains) / min(gains) == pytest.approx(1.168, abs=1e-3)
