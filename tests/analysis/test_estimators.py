"""Every estimator against an enumeration of all orders, or a value worked out by hand."""

import itertools
import math
import warnings
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.analysis.estimators import (
    BreakEven,
    area_over_log_cost,
    best_of_k_weights,
    break_even,
    expected_best,
    hypervolume,
    normalised_regret,
    observed_break_even,
    oriented,
    pareto_front,
    percentile_interval,
    reach_probability,
    resampled_speed_ups,
    running_incumbent,
    tuning_band,
)

values = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=6)


def test_orientation_makes_larger_better() -> None:
    assert oriented([1.0, 2.0], "max").tolist() == [1.0, 2.0]
    assert oriented([1.0, 2.0], "min").tolist() == [-1.0, -2.0]


def test_incumbent_is_the_first_of_equals_and_skips_what_failed() -> None:
    nan = math.nan
    assert running_incumbent([nan, 2.0, 1.0, 2.0, 3.0, nan]).tolist() == [-1, 1, 1, 1, 4, 4]
    assert running_incumbent([nan, nan]).tolist() == [-1, -1]
    assert running_incumbent([[1.0, 2.0], [2.0, 1.0]]).tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_weights_are_the_binomial_ratios(n: int) -> None:
    for k in range(1, n + 1):
        exact = [math.comb(i - 1, k - 1) / math.comb(n, k) for i in range(1, n + 1)]
        np.testing.assert_allclose(best_of_k_weights(n, k), exact, rtol=1e-13)


def test_weights_of_ten_thousand_trials_sum_to_one() -> None:
    for k in (1, 10, 5000, 10_000):
        assert best_of_k_weights(10_000, k).sum() == pytest.approx(1.0, abs=1e-9)


def test_a_best_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.\.3"):
        best_of_k_weights(3, 4)


@given(v=values)
def test_expected_best_is_the_mean_over_all_subsets(v: list[float]) -> None:
    for k in range(1, len(v) + 1):
        exact = np.mean([max(subset) for subset in itertools.combinations(v, k)])
        assert expected_best(v, k)[0] == pytest.approx(exact)


@settings(deadline=None)
@given(v=values, seed=st.integers(0, 100))
def test_expected_test_value_is_that_of_the_incumbent_over_all_orders(v: list[float], seed: int) -> None:
    t = np.random.default_rng(seed).integers(-5, 5, len(v)).astype(float)
    orders = list(itertools.permutations(range(len(v))))
    for k in range(1, len(v) + 1):
        best = [max(order[:k], key=lambda i: v[i]) for order in orders]  # max keeps the first of equals
        assert expected_best(v, k, t)[0] == pytest.approx(np.mean(t[best]))
        assert reach_probability(v, t, 0.5)[k - 1] == pytest.approx(np.mean(t[best] >= 0.5))


def test_unbiased_where_the_usual_estimator_is_not() -> None:
    """Normal scores, n = k = 20: the truth is 1.867; drawing with replacement would say 1.655."""
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4000, 20))
    unbiased = np.mean([expected_best(row, 20)[0] for row in draws])
    i = np.arange(1, 21)
    biased = np.mean(np.sort(draws, axis=1) @ ((i / 20) ** 20 - ((i - 1) / 20) ** 20))
    assert unbiased == pytest.approx(1.867, abs=0.03)
    assert biased == pytest.approx(1.655, abs=0.03)


def enumerated_budget(
    v: Sequence[float],
    t: Sequence[float],
    tenths: Sequence[int],
    target: float,
    rho: Fraction,
    orders: Sequence[Sequence[int]],
) -> Fraction | None:
    """The smallest budget, in tenths of a device-second, at which a share >= rho of the orders has an incumbent
    that reaches the target: every order walked through afresh for every budget there is, in whole numbers."""

    def reached(order: Sequence[int], budget: int) -> bool:
        spent, best = 0, None
        for i in order:
            spent += tenths[i]
            if spent > budget:
                break
            if not math.isnan(v[i]) and (best is None or v[i] > v[best]):
                best = i
        return best is not None and t[best] >= target

    budgets = sorted({sum(subset) for r in range(1, len(v) + 1) for subset in itertools.combinations(tenths, r)})
    enough = (b for b in budgets if sum(reached(order, b) for order in orders) >= rho * len(orders))
    return next((Fraction(b) for b in enough), None)


def demand_budget(found: BreakEven, exact: Fraction | None, tenths: Sequence[int]) -> None:
    assert found.device_seconds == (None if exact is None else pytest.approx(float(exact) / 10))
    assert found.censored == (exact is None)
    assert found.budget == pytest.approx(sum(tenths) / 10)


costs_in_tenths = st.one_of(
    st.integers(1, 9).flatmap(lambda cost: st.lists(st.just(cost), min_size=5, max_size=5)),  # all equal
    st.lists(st.integers(1, 3), min_size=5, max_size=5),  # partly equal, and sums that meet: 1 + 2 = 3
    st.lists(st.integers(0, 40), min_size=5, max_size=5),
)
qualities = st.lists(st.one_of(st.just(math.nan), st.integers(0, 3).map(float)), min_size=1, max_size=5)
shares = st.sampled_from([Fraction(1, 3), Fraction(1, 2), Fraction(2, 3), Fraction(9, 10), Fraction(1)])


@settings(deadline=None, max_examples=300)
@given(v=qualities, tenths=costs_in_tenths, rho=shares, seed=st.integers(0, 10_000))
def test_break_even_is_the_enumerated_budget(v: list[float], tenths: list[int], rho: Fraction, seed: int) -> None:
    t = np.random.default_rng(seed).integers(0, 3, len(v)).astype(float)
    tenths = tenths[: len(v)]
    orders = list(itertools.permutations(range(len(v))))
    exact = enumerated_budget(v, t.tolist(), tenths, 1.0, rho, orders)
    found = break_even(v, t, np.array(tenths) / 10, 1.0, float(rho), rng=np.random.default_rng(1))
    demand_budget(found, exact, tenths)


@pytest.mark.parametrize("kinds", [(1,), (1, 2), (1, 2, 3)])
def test_no_random_small_case_differs_from_its_enumeration(kinds: tuple[int, ...]) -> None:
    """Costs of 0.1, 0.2 and 0.3 meet at one moment that floats sum up to 0.6 and to 0.6000000000000001."""
    rng = np.random.default_rng(len(kinds))
    different = 0
    for _ in range(400):
        n = int(rng.integers(2, 5))
        v, t, target = rng.normal(size=n), rng.normal(size=n), float(rng.normal(0, 0.5))
        tenths = rng.choice(kinds, n).tolist()
        exact = enumerated_budget(
            v.tolist(), t.tolist(), tenths, target, Fraction(1, 2), list(itertools.permutations(range(n)))
        )
        found = break_even(v, t, np.array(tenths) / 10, target, 0.5, rng=rng).device_seconds
        different += found != (None if exact is None else pytest.approx(float(exact) / 10))
    assert different == 0


def test_what_rises_and_falls_at_one_moment_is_counted_together() -> None:
    """At two trials as many orders lose the target as reach it: the share is 1/3 before and after, never 1/2."""
    v, t = (-0.197, 1.245, 1.749), (-0.516, 1.295, -0.567)
    found = break_even(v, t, (1.0, 1.0, 1.0), 0.054, 0.5, rng=np.random.default_rng(0))
    assert (found.device_seconds, found.num_trials, found.censored) == (None, None, True)


@settings(deadline=None, max_examples=150)
@given(v=qualities, tenths=costs_in_tenths, rho=shares, num_first=st.integers(1, 2), seed=st.integers(0, 10_000))
def test_first_trials_that_were_not_drawn_begin_every_order(
    v: list[float], tenths: list[int], rho: Fraction, num_first: int, seed: int
) -> None:
    num_first, tenths = min(num_first, len(v)), tenths[: len(v)]
    t = np.random.default_rng(seed).integers(0, 3, len(v)).astype(float)
    drawn = itertools.permutations(range(num_first, len(v)))
    orders = [(first, *order) for order in drawn for first in range(num_first)]
    exact = enumerated_budget(v, t.tolist(), tenths, 1.0, rho, orders)
    costs = np.array(tenths) / 10
    found = break_even(v, t, costs, 1.0, float(rho), rng=np.random.default_rng(1), num_first=num_first)
    assert found.device_seconds == (None if exact is None else pytest.approx(float(exact) / 10))
    assert found.budget == pytest.approx(costs[:num_first].mean() + costs[num_first:].sum())


def test_orders_that_are_drawn_begin_with_the_first_trials_too() -> None:
    v, costs = np.arange(12.0), np.ones(12)
    reached = np.array([1.0, 0.0, *np.ones(10)])  # one of two first trials reaches the target, and all drawn ones
    half = break_even(v, reached, costs, 0.5, 0.4, rng=np.random.default_rng(0), num_first=2)
    assert (half.device_seconds, half.num_trials) == (1.0, 1.0)
    most = break_even(v, reached, costs, 0.5, 0.9, rng=np.random.default_rng(0), num_first=2)
    assert (most.device_seconds, most.num_trials) == (2.0, 2.0)


@settings(deadline=None, max_examples=150)
@given(
    searches=st.lists(qualities, min_size=1, max_size=4), tenths=costs_in_tenths, rho=shares, seed=st.integers(0, 99)
)
def test_observed_break_even_is_the_enumerated_budget(
    searches: list[list[float]], tenths: list[int], rho: Fraction, seed: int
) -> None:
    """Searches of the same costs, so that many of their trials end at one moment."""
    rng, parts = np.random.default_rng(seed), []
    for v in searches:
        t, ends = rng.integers(0, 3, len(v)).astype(float), np.cumsum(np.array(tenths[: len(v)]) / 10)
        parts.append((np.array(v), t, ends))

    def reached(v: Sequence[float], t: Sequence[float], budget: int) -> bool:
        known = [i for i in range(len(v)) if sum(tenths[: i + 1]) <= budget and not math.isnan(v[i])]
        return bool(known) and t[max(known, key=lambda i: v[i])] >= 1.0

    budgets = sorted({sum(tenths[: i + 1]) for i in range(5)})
    counts = [sum(reached(v.tolist(), t.tolist(), budget) for v, t, _ in parts) for budget in budgets]
    exact = next((b for b, count in zip(budgets, counts, strict=True) if count >= rho * len(parts)), None)
    found = observed_break_even(parts, 1.0, float(rho))
    assert found.device_seconds == (None if exact is None else pytest.approx(exact / 10))


def test_break_even_with_equal_costs_is_that_of_reach_probability() -> None:
    v = np.random.default_rng(3).normal(size=40)
    probability = reach_probability(v, v, 1.0)
    found = break_even(v, v, np.ones(40), 1.0, 0.5, rng=np.random.default_rng(0), num_orders=20_000)
    assert found.num_trials == pytest.approx(np.argmax(probability >= 0.5) + 1, abs=1)


def test_break_even_says_censored_and_not_a_number() -> None:
    found = break_even([1.0, 2.0], [1.0, 2.0], [3.0, 4.0], 5.0, 0.5, rng=np.random.default_rng(0))
    assert (found.device_seconds, found.num_trials, found.censored, found.budget) == (None, None, True, 7.0)


def test_observed_break_even_follows_the_incumbent_down_again() -> None:
    # The better validated trial is worse on the test subjects: what was reached is lost until the third.
    one = (np.array([1.0, 2.0, 3.0]), np.array([5.0, 1.0, 6.0]), np.array([10.0, 20.0, 30.0]))
    assert observed_break_even([one], 5.0, 0.5).device_seconds == 10.0
    never = (np.array([1.0]), np.array([1.0]), np.array([15.0]))
    found = observed_break_even([one, never], 5.0, 0.9)
    assert found.censored
    assert found.budget == 30.0
    late = (np.array([0.0, 1.0]), np.array([0.0, 9.0]), np.array([25.0, 40.0]))
    assert observed_break_even([one, late], 5.0, 1.0).device_seconds == 40.0
    assert observed_break_even([one, late], 5.0, 0.5).device_seconds == 10.0


def test_speed_ups_of_equal_costs_lie_around_the_plain_one() -> None:
    rng = np.random.default_rng(0)
    v = rng.normal(size=30)
    samples = resampled_speed_ups((v, v, np.full(30, 60.0)), (np.array([1.2]), np.array([60.0])), 0.2, 0.5, rng=rng)
    low, high = percentile_interval(samples)
    assert low is not None
    assert low < np.argmax(reach_probability(v, v, 1.0) >= 0.5) + 1 < (high or np.inf)


def test_percentiles_of_censored_samples_are_open() -> None:
    assert percentile_interval([1.0, 2.0, 3.0, np.inf]) == (1.0, None)
    assert percentile_interval([2.0] * 40) == (2.0, 2.0)


def test_regret_is_0_at_the_best_and_1_at_equal_weights() -> None:
    assert normalised_regret([24.0, 25.0, 26.0], best=26.0, equal=24.0).tolist() == [1.0, 0.5, 0.0]
    assert np.isnan(normalised_regret([24.0], best=24.0, equal=24.0)).all()


def test_area_over_log_cost_weighs_decades_alike() -> None:
    assert area_over_log_cost([1.0, 10.0, 100.0], [1.0, 0.0, 7.0]) == pytest.approx(0.5)
    assert area_over_log_cost([5.0], [1.0]) is None
    assert area_over_log_cost([5.0, 5.0], [1.0, 1.0]) is None


def test_pareto_front_leaves_out_the_beaten_the_tied_and_the_unknown() -> None:
    cost = [1.0, 2.0, 2.0, 3.0, 1.0, 4.0]
    quality = [1.0, 3.0, 2.0, 3.0, 1.0, math.nan]
    assert pareto_front(cost, quality).tolist() == [0, 1]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_front_is_what_no_point_beats(points: list[tuple[int, int]]) -> None:
    cost, quality = np.array(points, dtype=float).T
    front = {points[i] for i in pareto_front(cost, quality)}
    unbeaten = {
        p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)
    }  # fmt: skip
    assert front == unbeaten


def test_hypervolume_of_two_steps_by_hand() -> None:
    # Box up to cost 4 and from quality 0: (1, 1) holds 1 from 1 to 2, (2, 3) holds 3 from 2 to 4.
    assert hypervolume([1.0, 2.0, 9.0], [1.0, 3.0, 9.0], (4.0, 0.0)) == pytest.approx(1 * 1 + 2 * 3)
    assert hypervolume([], [], (4.0, 0.0)) == 0.0


def test_band_holds_where_values_are_tied() -> None:
    """Of ten coins the median best of k is 0 or 1 for k = 1, and 1 from k = 2 on."""
    rng, ks = np.random.default_rng(0), np.array([2, 3, 4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bands = [tuning_band(rng.integers(0, 2, 10).astype(float), ks) for _ in range(100)]
    assert sum(bool(((low <= 1) & (high >= 1)).all()) for low, high in bands) >= 95


@given(points=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8))
def test_hypervolume_is_the_number_of_cells_that_some_point_dominates(points: list[tuple[int, int]]) -> None:
    cost, quality = np.array(points, dtype=float).reshape(-1, 2).T
    cells = itertools.product(
        range(4), range(1, 5)
    )  # from x to x + 1 and from y - 1 to y: costs to 4, qualities from 0
    dominated = sum(any(c <= x and q >= y for c, q in points) for x, y in cells)
    capped = np.minimum(quality, 4.0)
    assert hypervolume(cost, capped, (4.0, 0.0)) == dominated


@given(steps=st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2)), min_size=2, max_size=6))
def test_area_over_log_cost_is_the_sum_over_unit_steps(steps: list[tuple[int, int]]) -> None:
    """Ends at powers of e, several of them at one moment: of those the last value holds."""
    exponents, heights = np.cumsum([step for step, _ in steps]), [float(value) for _, value in steps]
    expected = [heights[max(i for i, e in enumerate(exponents) if e <= x)] for x in range(exponents[0], exponents[-1])]
    area = area_over_log_cost(np.exp(exponents.astype(float)), heights)
    assert area == (pytest.approx(float(np.mean(expected))) if expected else None)


def test_band_holds_the_median_curve_of_what_it_was_drawn_from() -> None:
    rng, ks = np.random.default_rng(0), np.arange(1, 9)
    truth = -np.log(1 - 0.5 ** (1 / ks))  # the median best of k of the exponential distribution
    hits = 0
    for _ in range(100):
        low, high = tuning_band(rng.exponential(size=30), ks)
        hits += bool(((low <= truth) & (truth <= high)).all())
    assert hits >= 90
    low, high = tuning_band(rng.exponential(size=200), ks)
    assert (low <= high).all()
