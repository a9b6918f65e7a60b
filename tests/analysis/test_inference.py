"""The statistics against worked values, against scipy, and against what they promise."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from study.analysis.inference import (
    Interval,
    holm,
    judge,
    log_ratio_interval,
    margin_for_power,
    mixed_model,
    noninferiority_power,
    paired,
)


def test_t_interval_by_hand() -> None:
    found = paired([1.0, 2.0, 3.0, 4.0])
    assert found is not None
    half = 3.182446305 * np.sqrt(5 / 3) / 2
    assert found.difference == 2.5
    assert found.sd == pytest.approx(np.sqrt(5 / 3))
    assert found.t.low == pytest.approx(2.5 - half)
    assert found.t.high == pytest.approx(2.5 + half)
    assert found.effect_size == pytest.approx(2.5 / np.sqrt(5 / 3))


def test_rank_biserial_by_hand() -> None:
    # |d| ranks 1 2 3 4; W+ = 1 + 3 + 4, W- = 2; the zero has no rank.
    found = paired([0.1, -0.2, 0.3, 0.4, 0.0])
    assert found is not None
    assert found.rank_biserial == pytest.approx((8 - 2) / 10)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=2, max_size=12))
def test_nothing_is_nan_whatever_the_differences(d: list[float]) -> None:
    found = paired(d, num_resamples=199)
    assert found is not None
    numbers = [found.difference, found.sd, found.t.low, found.t.high, found.bca.low, found.bca.high]
    numbers += [found.p_wilcoxon, found.effect_size, found.rank_biserial]
    assert all(number is None or np.isfinite(number) for number in numbers)


def test_wilcoxon_sees_ties_where_floating_point_does_not() -> None:
    a = np.array([0.3, 0.6, 0.9, 1.2])
    d = a - np.array([0.1, 0.4, 0.7, 1.0])  # 0.2 four times, up to rounding
    assert len(set(d.tolist())) > 1
    found = paired(d)
    assert found is not None
    assert found.rank_biserial == 1.0
    assert found.p_wilcoxon == stats.wilcoxon([0.2] * 4).pvalue


def test_few_and_equal_subjects_are_described_without_a_made_up_number() -> None:
    assert paired([]) is None
    assert paired([np.nan, np.nan]) is None
    one = paired([0.3, np.nan])
    assert one is not None
    assert (one.num_subjects, one.difference, one.sd, one.t.low) == (1, 0.3, None, None)
    same = paired([0.5, 0.5, 0.5])
    assert same is not None
    assert (same.t.low, same.t.high, same.effect_size) == (0.5, 0.5, None)
    zero = paired([0.0, 0.0])
    assert zero is not None
    assert (zero.p_wilcoxon, zero.rank_biserial) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.2, "superior"),
        (-0.05, 0.2, "non-inferior"),
        (-0.05, -0.01, "non-inferior"),
        (-0.2, 0.2, "inconclusive"),
        (-0.1, 0.2, "inconclusive"),  # touching the margin is not above it
        (-0.3, -0.2, "inferior"),
        (None, None, "not testable"),
    ],
)
def test_verdict_of_an_interval(low: float | None, high: float | None, verdict: str) -> None:
    assert judge(Interval(low=low, high=high), margin=0.1) == verdict


def test_without_a_margin_only_superiority_can_be_shown() -> None:
    assert judge(Interval(low=-0.01, high=0.3), margin=0.0) == "inconclusive"
    assert judge(Interval(low=0.01, high=0.3), margin=0.0) == "superior"


def test_24_subjects_need_a_margin_of_0_60_sd() -> None:
    assert margin_for_power(1.0, 24) == pytest.approx(0.60, abs=0.005)
    assert margin_for_power(2.0, 24) == pytest.approx(2 * margin_for_power(1.0, 24))
    assert noninferiority_power(margin_for_power(1.0, 24), 1.0, 24) == pytest.approx(0.8)
    assert noninferiority_power(0.0, 1.0, 24) == pytest.approx(0.025)


def test_power_is_what_simulation_gives() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(0.1, 1.0, (4000, 24))
    low = d.mean(axis=1) - stats.t.ppf(0.975, 23) * d.std(axis=1, ddof=1) / np.sqrt(24)
    assert np.mean(low > -0.5) == pytest.approx(noninferiority_power(0.5, 1.0, 24, difference=0.1), abs=0.025)


def test_holm_by_hand_and_with_gaps() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([None]) == [None]
    assert holm([]) == []


def _runs(rng: np.random.Generator, shift: float, *, runs: int = 3, subjects: int = 24, sd_run: float = 0.1):
    effect = rng.normal(0, 1.3, subjects)
    sides = []
    for level in (shift, 0.0):
        noise = rng.normal(0, 0.2, (runs, subjects)) + rng.normal(0, sd_run, (runs, 1))
        sides.append(24 + level + effect + noise)
    return sides


def test_mixed_model_finds_the_parts_it_was_made_of() -> None:
    found = mixed_model(*_runs(np.random.default_rng(1), 0.4, runs=8, subjects=60))
    assert found is not None
    assert found.difference == pytest.approx(0.4, abs=0.1)
    assert found.sd_subject == pytest.approx(1.3, rel=0.25)
    assert found.sd_residual == pytest.approx(0.2, rel=0.1)
    assert 0.03 < found.sd_run < 0.25
    assert found.low < found.difference < found.high


def test_mixed_model_of_balanced_runs_is_the_difference_of_means() -> None:
    candidate, reference = _runs(np.random.default_rng(2), 0.0)
    found = mixed_model(candidate, reference)
    assert found is not None
    assert found.difference == pytest.approx(candidate.mean() - reference.mean(), abs=1e-6)


def test_mixed_model_needs_two_runs_a_side() -> None:
    candidate, reference = _runs(np.random.default_rng(2), 0.0)
    assert mixed_model(candidate[:1], reference) is None
    assert mixed_model(candidate[:, :2], reference[:, :2]) is None
    assert mixed_model(np.ones((2, 4)), np.ones((2, 4))) is None


def test_cost_ratio_interval_by_hand() -> None:
    # One training cost 10; four trials 9 11 9 11: mean 10, sd 1.1547, so the log-mean has se 0.0577 on 3 df.
    found = log_ratio_interval([9.0, 11.0, 9.0, 11.0], [10.0], count=4)
    factor = np.exp(3.182446305 * 1.154700538 / 2 / 10)
    assert found.low == pytest.approx(4 / factor)
    assert found.high == pytest.approx(4 * factor)
    assert log_ratio_interval([9.0], [10.0], count=1) == Interval(low=None, high=None)
    assert log_ratio_interval([5.0, 5.0], [10.0, 10.0], count=2) == Interval(low=1.0, high=1.0)


def test_cost_ratio_interval_covers_with_three_seeds() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        found = log_ratio_interval(rng.normal(100, 10, 12), rng.normal(80, 8, 3), count=12)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 12 * 100 / 80 <= found.high
    assert 0.94 < hits / 1000 < 0.985


def test_every_sign_pattern_gives_scipys_wilcoxon() -> None:
    for signs in itertools.product((1, -1), repeat=5):
        d = np.array(signs) * np.arange(1.0, 6.0)
        found = paired(d)
        assert found is not None
        assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(d).pvalue)
