"""The verdict in words: every outcome has its sentence, and a difference says which way it goes."""

from pathlib import Path
from typing import Any

import pytest
from fake_study import FakeStudy

from study.analysis.inference import Interval, judge, outcome
from study.record.record import load_state
from study.report.build import make_tables
from study.report.evidence import gather
from study.report.findings.findings import find
from study.report.findings.words import put_into_words, sentence
from study.report.formats import QUANTITIES
from study.report.summary import summarise

SMALL: dict[str, Any] = {"images": False, "num_trials": 6, "epochs": 4, "single_arms": False}

# The margin is 0.5: low end, high end, outcome, verdict.
OUTCOMES = [
    (0.1, 0.4, "superior", "superior"),
    (0.1, 0.9, "superior", "superior"),
    (0.0, 0.4, "non-inferior", "non-inferior"),
    (-0.4, 0.2, "non-inferior", "non-inferior"),
    (-0.4, 0.0, "non-inferior", "non-inferior"),
    (-0.4, -0.1, "non-inferior, worse", "non-inferior"),
    (-0.7, -0.27, "worse, margin open", "inconclusive"),
    (-0.5, -0.5, "worse, margin open", "inconclusive"),
    (-0.9, -0.6, "inferior", "inferior"),
    (-0.7, 0.0, "undecided", "inconclusive"),
    (-0.7, 0.3, "undecided", "inconclusive"),
    (None, None, "not testable", "not testable"),
]


@pytest.mark.parametrize(("low", "high", "expected", "verdict"), OUTCOMES)
def test_every_place_of_the_interval_has_its_outcome(
    low: float | None, high: float | None, expected: str, verdict: str
) -> None:
    interval = Interval(low=low, high=high)
    assert outcome(interval, 0.5) == expected
    assert judge(interval, 0.5) == verdict


def test_without_a_margin_worse_is_inferior() -> None:
    assert outcome(Interval(low=-0.7, high=-0.27), 0.0) == "inferior"
    assert outcome(Interval(low=-0.7, high=0.2), 0.0) == "undecided"


@pytest.mark.parametrize(
    ("by_outcome", "expected"),
    [
        ({"superior": ["A"]}, "CoV is better than X in A"),
        ({"non-inferior": ["A", "B"]}, "CoV is non-inferior to X in A and B"),
        ({"inferior": ["A"]}, "CoV is inferior to X in A"),
        ({"non-inferior, worse": ["A"]}, "CoV is worse than X in A, though by less than the margin"),
        ({"worse, margin open": ["A"]}, "CoV is worse than X in A, and it is open whether by more than the margin"),
        ({"undecided": ["A", "B"]}, "CoV against X: A and B are undecided"),
        ({"not testable": ["A"]}, "CoV against X: A is not testable"),
        (
            {"superior": ["A"], "worse, margin open": ["B"], "undecided": ["C"]},
            "CoV is better than X in A; it is worse in B, and it is open whether by more than the margin; "
            "C is undecided",
        ),
        (
            {"non-inferior": ["A"], "inferior": ["B"], "non-inferior, worse": ["C"]},
            "CoV is non-inferior to X in A and inferior in B; it is worse in C, though by less than the margin",
        ),
        (
            {"non-inferior, worse": ["A"], "worse, margin open": ["B"]},
            "CoV is worse than X in A, though by less than the margin; it is worse in B, and it is open whether by "
            "more than the margin",
        ),
    ],
)
def test_every_outcome_has_its_sentence(by_outcome: dict[str, list[str]], expected: str) -> None:
    assert sentence("CoV", "X", by_outcome) == expected


def test_a_difference_says_which_way_it_goes() -> None:
    psnr, rmse = QUANTITIES["psnr"], QUANTITIES["rmse"]
    assert psnr.against(-0.45) == "0.45 dB worse (lower)"
    assert psnr.against(0.45) == "0.45 dB better (higher)"
    assert rmse.against(-0.01) == "0.0100 worse (higher)"
    assert rmse.against(0.01) == "0.0100 better (lower)"
    assert psnr.against(-0.001) == "0.00 dB apart"
    assert psnr.between(-0.7, -0.27) == "0.70 to 0.27 worse"
    assert psnr.between(-0.1, 0.23) == "0.10 worse to 0.23 better"
    assert rmse.between(0.001, 0.002) == "0.0010 to 0.0020 better"


def test_worse_is_called_worse_everywhere(tmp_path: Path) -> None:
    """A study in which CoV is worse, and the margin inside of the interval in two metrics."""
    margins = {"psnr": 0.45, "ssim": 0.01, "rmse": 0.003}
    fake = FakeStudy(**SMALL, cov_gain=-0.9, margin=margins)
    findings = find(gather(load_state(fake.write(tmp_path / "study"))))
    words = put_into_words(findings)
    found, tables = summarise(findings, words)["noninferiority"], make_tables(findings)
    for metric in ("psnr", "rmse"):
        assert found[metric]["low"] < -found[metric]["margin"] < found[metric]["high"] < 0
        assert (found[metric]["verdict"], found[metric]["outcome"]) == ("inconclusive", "worse, margin open")
    assert words.headline == (
        "CoV is inferior to hand-tuned weights in SSIM; it is worse in PSNR and RMSE, and it is open whether by more "
        "than the margin."
    )
    psnr, _, rmse = words.metrics
    assert psnr.startswith("PSNR 0.44 dB worse (lower), 95 % CI 0.52 to 0.36 worse, margin 0.45: worse, and it is open")
    assert rmse.startswith("RMSE 0.0032 worse (higher), 95 % CI 0.0039 to 0.0025 worse, margin 0.0030: worse, and it")
    assert words.lines[0].endswith(
        "[PSNR 0.44 dB worse (lower), margin 0.45; SSIM 0.0332 worse (lower), margin 0.0100; "
        "RMSE 0.0032 worse (higher), margin 0.0030]"
    )
    assert list(tables["comparison"].shown["Verdict"]) == ["worse, margin open", "inferior", "worse, margin open"]
