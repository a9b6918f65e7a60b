"""The report of a whole study: the contract's keys, the same bytes twice, nothing half."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_study import FakeStudy

from study.record.record import load_state
from study.report.build import build_report
from trainables.errors import UserError


@pytest.fixture(scope="module")
def summary(whole: Path) -> dict[str, Any]:
    return json.loads((whole / "report" / "summary.json").read_text(encoding="utf-8"))


def test_summary_has_what_the_contract_promises(summary: dict[str, Any]) -> None:
    for arm in ("single-l1", "equal", "tuned", "cov"):
        for metric in ("psnr", "ssim", "rmse"):
            assert set(summary["arms"][arm]["test"][metric]) >= {"mean", "sd", "n"}
        assert set(summary["arms"][arm]["cost"]["device_seconds"]) >= {"search", "confirmation", "total"}
    assert summary["arms"]["tuned"]["num_trials"] == 15
    for metric in ("psnr", "ssim", "rmse"):
        assert set(summary["noninferiority"][metric]) >= {"difference", "low", "high", "margin", "verdict"}
    assert set(summary["break_even"]) >= {"rho", "device_seconds", "censored"}
    assert set(summary["cost_ratio"]) >= {"value", "low", "high"}
    assert set(summary["baselines"]) == {"identity", "intensity_map"}
    assert len(summary["verdict"]["lines"]) == 2


def test_numbers_of_the_summary_are_those_of_the_journal(whole: Path, summary: dict[str, Any]) -> None:
    state = load_state(whole)
    scores = {
        arm: np.array(
            [
                [subject["mask"]["psnr"] for subject in trial.scores.values()]
                for trial in state.of_arm(arm)
                if trial.role != "search" and trial.scores
            ]
        ).mean(axis=0)
        for arm in ("cov", "tuned")
    }
    assert summary["arms"]["cov"]["test"]["psnr"]["mean"] == pytest.approx(scores["cov"].mean())
    assert summary["arms"]["cov"]["test"]["psnr"]["sd"] == pytest.approx(scores["cov"].std(ddof=1))
    difference = scores["cov"] - scores["tuned"]
    assert summary["noninferiority"]["psnr"]["difference"] == pytest.approx(difference.mean())
    searched = sum(t.device_seconds for t in state.of_arm("tuned") if t.role == "search")
    trained = np.mean([t.device_seconds for t in state.of_arm("cov")])
    assert summary["cost_ratio"]["value"] == pytest.approx(searched / trained)


def test_differences_in_rmse_are_turned_so_that_more_is_better(summary: dict[str, Any]) -> None:
    means = {arm: summary["arms"][arm]["test"]["rmse"]["mean"] for arm in ("cov", "tuned")}
    assert summary["noninferiority"]["rmse"]["difference"] == pytest.approx(means["tuned"] - means["cov"])


def test_default_margin_is_half_the_gain_of_tuning_on_validation(summary: dict[str, Any]) -> None:
    gain = {
        metric: summary["arms"]["tuned"]["validation"][metric]["mean"]
        - summary["arms"]["equal"]["validation"][metric]["mean"]
        for metric in ("psnr", "rmse")
    }
    assert summary["noninferiority"]["psnr"]["margin"] == pytest.approx(gain["psnr"] / 2)
    assert summary["noninferiority"]["rmse"]["margin"] == pytest.approx(-gain["rmse"] / 2)


def test_the_same_journal_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(whole, again, ignore=shutil.ignore_patterns("report", "*.csv"))
    # Another process, another hash seed, another place.
    code = f"from pathlib import Path; from study.report.build import build_report; build_report(Path({str(again)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=os.environ | {"PYTHONHASHSEED": "7"})
    files = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file() and p.suffix != ".lock")
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file() and p.suffix != ".lock")
    different = [str(f) for f in files if (whole / f).read_bytes() != (again / f).read_bytes()]
    assert different == []


def test_every_figure_and_table_is_a_file_and_on_the_page(whole: Path) -> None:
    page = (whole / "report" / "index.html").read_text(encoding="utf-8")
    figures = whole / "report" / "figures"
    names = {path.stem for path in figures.iterdir()}
    assert names >= {"cost_quality", "tuning_curve", "differences", "subjects", "psnr_ssim", "weights", "timeline"}
    assert names >= {"weight_space", "images_typical", "images_best", "images_worst"}
    for name in names:
        assert (figures / f"{name}.svg").exists()
        assert (figures / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f'<figure id="{name}"' in page
    tables = {path.stem for path in (whole / "report" / "tables").iterdir()}
    assert tables >= {"results", "results_volume", "results_lesion", "comparison", "mixed_model", "pairs", "ledger"}
    for name in tables:
        assert f'<figure id="table-{name}"' in page


def test_every_figure_of_a_simulated_cohort_says_so(whole: Path) -> None:
    for path in (whole / "report" / "figures").glob("*.svg"):
        assert "simulated cohort" in path.read_text(encoding="utf-8"), path.name
    for path in (whole / "report" / "tables").glob("*.md"):
        assert "Simulated cohort" in path.read_text(encoding="utf-8"), path.name


def test_page_is_self_contained_and_accessible(whole: Path) -> None:
    page = (whole / "report" / "index.html").read_text(encoding="utf-8")
    assert len(page) < 3_000_000
    links = re.findall(r'\b(?:src|href|xlink:href|action|poster)\s*=\s*"([^"]*)"', page)
    assert [link for link in links if not link.startswith(("#", "data:"))] == []
    assert "default-src 'none'" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert used <= set(ids)
    assert page.count('role="img" aria-label="') == page.count("<svg")
    assert '<html lang="en">' in page


def test_rebuilding_replaces_the_folder_whole(tmp_path: Path) -> None:
    study = FakeStudy(tuned_arms=(), images=False, single_arms=False).write(tmp_path / "study")
    for folder, name in (("report", "stray.txt"), ("report.tmp", "half.txt"), ("report.old", "older.txt")):
        (study / folder).mkdir()
        (study / folder / name).write_text("a crash left this")
    build_report(study)
    assert (study / "report" / "index.html").exists()
    assert not (study / "report" / "stray.txt").exists()
    assert sorted(p.name for p in study.iterdir() if p.is_dir()) == ["report"]


def test_without_a_journal_the_error_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"journal\.jsonl: no journal here") as error:
        build_report(tmp_path)
    assert "\n" not in str(error.value)


def test_importing_the_report_stays_light() -> None:
    heavy = ("matplotlib", "pandas", "scipy", "torch")
    code = f"import sys, study.report.build; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_goals_are_those_of_the_metrics() -> None:
    from study.report.formats import QUANTITIES
    from trainables.metrics import METRICS

    assert {name: q.goal for name, q in QUANTITIES.items()} == {name: m.goal for name, m in METRICS.items()}
