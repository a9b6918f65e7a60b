"""The unit is the subject: however often one was scanned, it counts once, with the mean of its scans."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_study import FakeStudy
from hypothesis import given
from hypothesis import strategies as st

from study.record.events import AttemptStarted, Baseline, Event, Scored, StudyBegun, TrialPlanned, TrialSpec
from study.record.journal import Stamped
from study.record.ledger import mean_score, write_ledger
from study.record.record import load_state
from study.record.state import StudyState
from study.report.evidence import gather
from study.report.figures.images import load_samples
from study.tracking.runs import Runs
from study.tracking.settings import TrackingSettings

SMALL: dict[str, Any] = {"terms": ("l1", "ssim"), "num_trials": 2, "num_subjects": 9, "single_arms": False}
NAMES: dict[str, Callable[[int], str]] = {
    "pseudonyms": lambda i: f"subject-{i // 3 + 1:03d}-scan-{i % 3 + 1}",
    "BIDS": lambda i: f"sub-{i // 3 + 1:02d}_ses-{i % 3 + 1}" + ("_run-2" if i % 3 else ""),
    "manifest": lambda i: f"Jane_Doe_{i // 3 + 1}_scan-{i % 3 + 1}",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_three_subjects_of_three_scans_are_three(say, name: Callable[[int], str]) -> None:
    """Of three differences the Wilcoxon test cannot give less than 0.25; of nine it gave 0.004."""
    said = say(FakeStudy(**SMALL, subject_name=name, cov_gain=0.5, subject_noise=0.01, images=False))
    psnr = said.summary["noninferiority"]["psnr"]
    assert (psnr["n"], psnr["p_wilcoxon"]) == (3, 0.25)
    assert (said.summary["num_test_subjects"], said.summary["num_test_scans"]) == (3, 9)
    assert {arm["test"]["psnr"]["n"] for arm in said.summary["arms"].values()} == {3}
    assert {baseline["psnr"]["n"] for baseline in said.summary["baselines"].values()} == {3}
    assert {pair["num_subjects"] for pair in said.summary["pairs"]} == {3}
    assert "only 3 test subjects" in said.page
    assert "3 test subjects (9 scans)" in said.page
    assert "scans and seeds are averaged within a subject" in said.page


def _scores(**of_scans: float | None) -> dict[str, Any]:
    return {scan.replace("__", "-"): {"mask": {"psnr": value}} for scan, value in of_scans.items()}


def _state(scans: dict[str, str] | None, scores: dict[str, Any]) -> StudyState:
    """A study of one trial, folded as the mirror does."""
    runs = Runs(TrackingSettings())
    study = {"name": "s", "objective": "val/psnr", "goal": "max", "arms": [{"name": "cov"}]}
    events: list[Event] = [
        StudyBegun(document=study | ({} if scans is None else {"scans": scans})),
        Baseline(name="identity", scores=scores),
        TrialPlanned(spec=TrialSpec(key="k", arm="cov", role="single", seed=1, terms=("l1",))),
        AttemptStarted(trial="k", attempt=1, started=0.0, share=1.0),
        Scored(trial="k", scores=scores),
    ]
    for number, event in enumerate(events):
        runs.fold(Stamped(number=number, time=1.0, event=event))
    points = {p.key: p.value for run in runs.runs.values() for p in run.points}
    assert points["test/psnr"] == points["baseline_identity/psnr"]
    assert points["test/psnr"] == pytest.approx(mean_score(runs.state.trials["k"].scores, "mask", "psnr"))
    return runs.state


def test_means_by_hand() -> None:
    """(10 + 20) / 2 and 30: 22.5, where the mean of all scans is 20. What a scan has no value of does not count."""
    scores = _scores(a__1=10.0, b=30.0, a__2=20.0, a__3=None)
    state = _state({"a-1": "a", "a-2": "a", "a-3": "a"}, scores)
    assert state.trials["k"].scores == {"a": {"mask": {"psnr": 15.0}}, "b": {"mask": {"psnr": 30.0}}}
    assert mean_score(state.trials["k"].scores, "mask", "psnr") == 22.5


def test_what_the_journal_says_goes_before_the_names() -> None:
    """A subject may be called as a scan is: with the journal's word for it, it stays a subject."""
    scores = _scores(subject__001__scan__1=10.0, subject__001__scan__2=20.0)
    assert set(_state(None, scores).trials["k"].scores or {}) == {"subject-001"}
    assert set(_state({}, scores).trials["k"].scores or {}) == set(scores)


@given(values=st.lists(st.floats(0, 60), min_size=1, max_size=5))
def test_one_scan_a_subject_changes_no_bit(values: list[float]) -> None:
    scores = {f"subject-{i:03d}": {"mask": {"psnr": value}} for i, value in enumerate(values)}
    for scans in (None, {}):
        assert _state(scans, scores).trials["k"].scores == scores


def test_evidence_and_tables_are_of_subjects_and_the_long_form_tells_whose_a_scan_is(tmp_path: Path) -> None:
    name = NAMES["pseudonyms"]
    fake = FakeStudy(**SMALL, subject_name=name)
    state = load_state(fake.write(tmp_path / "study"))
    evidence = gather(state)
    assert evidence.subjects == ["subject-001", "subject-002", "subject-003"]
    write_ledger(state, tmp_path)
    with (tmp_path / "subjects.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if (r["trial"], r["region"], r["metric"]) == ("cov-s1", "mask", "psnr")]
    assert [(r["subject"], r["scan"]) for r in rows] == [(f"subject-00{i // 3 + 1}", name(i)) for i in range(9)]
    of_subjects = np.array([float(r["value"]) for r in rows]).reshape(3, 3).mean(axis=1)
    assert evidence.arms["cov"].scores["mask"]["psnr"][0] == pytest.approx(of_subjects, abs=1e-12)
    with (tmp_path / "trials.csv").open(newline="") as file:
        means = {r["trial"]: r["test/psnr"] for r in csv.DictReader(file)}
    assert float(means["cov-s1"]) == pytest.approx(of_subjects.mean(), abs=1e-12)
    samples = load_samples(evidence, tmp_path / "study")
    assert samples is not None
    assert samples.subjects.index("subject-002") == 3
