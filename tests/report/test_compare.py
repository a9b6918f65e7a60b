"""Studies side by side: the same definitions, or a reason."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_study import FakeStudy

from study.report.comparison.build import compare_studies
from trainables.errors import UserError

SMALL: dict[str, Any] = {"images": False, "num_trials": 5, "epochs": 3, "single_arms": False}


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    real = FakeStudy(**SMALL, name="Hospital", simulated=False, num_subjects=12, seed=1)
    return [FakeStudy(**SMALL, name="Virtual").write(tmp_path / "a"), real.write(tmp_path / "b")]


def test_two_studies_stand_side_by_side(two: list[Path], tmp_path: Path) -> None:
    page = compare_studies(two, tmp_path / "both")
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "both" / "index.html"
    assert "Virtual" in text
    assert "Hospital" in text
    assert "of 2 studies" in text
    summary = json.loads((page.parent / "summary.json").read_text(encoding="utf-8"))
    assert [study["label"] for study in summary["studies"]] == ["Virtual", "Hospital"]
    assert [study["simulated"] for study in summary["studies"]] == [True, False]
    assert {path.stem for path in (page.parent / "figures").iterdir()} == {"study_differences", "study_costs"}
    assert {path.stem for path in (page.parent / "tables").iterdir()} >= {"verdicts", "arms_psnr", "arms_rmse"}


def test_comparing_twice_gives_the_same_bytes(two: list[Path], tmp_path: Path) -> None:
    one, other = (compare_studies(two, tmp_path / name).parent for name in ("one", "other"))
    for path in sorted(one.rglob("*.*")):
        assert path.read_bytes() == (other / path.relative_to(one)).read_bytes(), path.name


def test_studies_of_one_name_stay_apart(two: list[Path], tmp_path: Path) -> None:
    page = compare_studies([two[0], two[0]], tmp_path / "both")
    summary = json.loads((page.parent / "summary.json").read_text(encoding="utf-8"))
    assert [study["label"] for study in summary["studies"]] == ["Virtual", "Virtual (2)"]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"objective": "ssim"}, r"the metric that selects is ssim .* but psnr"),
        ({"percentiles": (1.0, 99.0)}, r"the scale of intensities .*1\.0, 99\.0.* data ranges"),
        ({"regions": ("mask",)}, r"the set of scored regions is \[\"mask\"\], but \[\"mask\", \"volume\"\]"),
    ],
)
def test_what_is_not_comparable_is_refused_with_the_reason(
    other: dict[str, Any], reason: str, two: list[Path], tmp_path: Path
) -> None:
    different = FakeStudy(**SMALL, **other).write(tmp_path / "c")
    with pytest.raises(UserError, match=reason) as error:
        compare_studies([two[0], different], tmp_path / "both")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "both").exists()


def test_one_study_is_no_comparison(two: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two or more"):
        compare_studies(two[:1], tmp_path / "both")


def test_an_unfinished_study_can_stand_beside(two: list[Path], tmp_path: Path) -> None:
    bare = FakeStudy(**SMALL, automatic_arms=(), tuned_arms=(), finished=False).write(tmp_path / "c")
    text = compare_studies([two[0], bare], tmp_path / "both").read_text(encoding="utf-8")
    assert "of 1 study" in text
    assert "nan" not in text.replace("financ", "").lower().split("<svg")[0].split("</style>")[1]
