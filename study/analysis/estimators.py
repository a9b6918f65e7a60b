"""What a search was worth at each budget: incumbents, tuning curves, break-even, regret and Pareto fronts.

Symbols: `v` validation value, `t` test value, `c` cost of a trial in device-seconds, `n` trials, `k` trials
spent. Quality is oriented so that **larger is better** (`oriented`); of costs, smaller is better. Trials are
*exchangeable* if any order of them was equally likely, as in random search. A search that learns from its earlier
trials (TPE) is not: of it only the order that was observed means anything.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def oriented(values: ArrayLike, goal: str) -> Floats:
    """Values as they are where `goal` is `max`, negated where it is `min`: larger is better."""
    array = np.asarray(values, dtype=float)
    return array if goal == "max" else -array


def running_incumbent(v: ArrayLike) -> NDArray[np.int64]:
    """Index of the best value so far after each trial (n,): the earlier one in a tie, -1 while none is finite.

    `i*(b) = argmax {v_i : e_i <= b}` with the trials in order of their end `e`.
    """
    values = np.nan_to_num(np.asarray(v, dtype=float), nan=-np.inf, posinf=-np.inf)
    peaks = np.maximum.accumulate(values, axis=-1)
    before = np.concatenate([np.full_like(peaks[..., :1], -np.inf), peaks[..., :-1]], axis=-1)
    rises = peaks > before
    index = np.arange(values.shape[-1])
    return np.maximum.accumulate(np.where(rises, index, -1), axis=-1)


def best_of_k_weights(n: int, k: int) -> Floats:
    """Probability (n,) that the i-th smallest of n values is the best of k drawn without replacement.

    `C(i-1, k-1) / C(n, k)`, i = 1..n, by the recurrence `w_{i-1} = w_i (i - k) / (i - 1)`, `w_n = k / n`,
    which neither overflows nor cancels.
    """
    if not 1 <= k <= n:
        raise ValueError(f"k = {k} is not in 1..{n}")
    i = np.arange(n, 1, -1)
    ratios = np.maximum(i - k, 0) / (i - 1)
    return (k / n * np.concatenate(([1.0], np.cumprod(ratios))))[::-1]


def expected_best(v: ArrayLike, ks: ArrayLike, t: ArrayLike | None = None) -> Floats:
    """Unbiased estimate of the expected best of k exchangeable trials, for each k.

    `sum_i v_(i) C(i-1, k-1) / C(n, k)`: what Dodge et al. (2019, "Show your work") estimate, in the form without
    replacement, which is unbiased (Tang et al. 2020, "Showing your work doesn't always work"). With `t`, the
    expected *test* value of the trial with the best *validation* value: the same weights on `t` ordered by `v`,
    with `t` averaged where `v` is tied.

    Args:
        v: finite values (n,), larger is better.
        ks: numbers of trials, each in 1..n.
        t: test values (n,) in the order of `v`.
    """
    values = np.asarray(v, dtype=float)
    ordered = np.sort(values) if t is None else _by_rank(values, np.asarray(t, dtype=float))
    return np.array([best_of_k_weights(len(values), int(k)) @ ordered for k in np.atleast_1d(ks)])


def _by_rank(v: Floats, t: Floats) -> Floats:
    """`t` in increasing order of `v`; within a tie each gets the mean, since either could have come first."""
    _, group = np.unique(v, return_inverse=True)
    means = np.bincount(group, weights=t) / np.bincount(group)
    return means[np.sort(group)]


def reach_probability(v: ArrayLike, t: ArrayLike, target: float) -> Floats:
    """`P_k`, k = 1..n: the probability that the incumbent of k exchangeable trials has a test value >= target.

    `P_k = sum_i C(i-1, k-1) / C(n, k) 1[t_[i] >= target]`, `t_[i]` in increasing order of `v`.
    """
    values = np.asarray(v, dtype=float)
    reached = _by_rank(values, (np.asarray(t, dtype=float) >= target).astype(float))
    return np.array([best_of_k_weights(len(values), k) @ reached for k in range(1, len(values) + 1)])


MAX_ENUMERATED = 7
EXACT_BAND_TRIALS = 100
"""Up to so many trials the band is opda's exact one, beyond it the Dvoretzky-Kiefer-Wolfowitz one: wider, instant."""


def tuning_band(v: ArrayLike, ks: ArrayLike, *, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Simultaneous confidence band (low, high) for the *median* best of k exchangeable trials, at each k.

    Lourie, Cho, He 2024, "Show your work with confidence" (`opda`): with this confidence the whole curve of a
    search that goes on drawing from the same distribution lies inside. An end is infinite where n trials cannot
    bound it.
    """
    from opda.nonparametric import EmpiricalDistribution

    values = np.asarray(v, dtype=float)
    method = "ld_equal_tailed" if len(values) <= EXACT_BAND_TRIALS else "dkw"
    low_cdf, _, high_cdf = EmpiricalDistribution.confidence_bands(values, confidence, method=method, n_jobs=1)
    return high_cdf.quantile_tuning_curve(ks), low_cdf.quantile_tuning_curve(ks)


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """The smallest budget at which a search is as good as a target, with probability `rho`."""

    rho: float
    device_seconds: float | None
    """None where the search did not reach it: the answer is censored at `budget`."""
    num_trials: float | None
    budget: float
    """Device-seconds that the search had, all its trials."""

    @property
    def censored(self) -> bool:
        """Whether the target was not reached within the budget."""
        return self.device_seconds is None


def break_even(
    v: ArrayLike,
    t: ArrayLike,
    costs: ArrayLike,
    target: float,
    rho: float,
    *,
    rng: np.random.Generator,
    num_orders: int = 2000,
) -> BreakEven:
    """Break-even of exchangeable trials with unequal costs, over random orders of them.

    For each order the incumbent's test value is a step function of the budget. The answer is the smallest budget
    at which a share >= rho of the orders has an incumbent that reaches the target. Failed trials (`v` not finite)
    cost, and are never incumbents.

    Args:
        v, t, costs: (n,) each.
        target: test value to be reached, `q_CoV - margin`.
        rho: share of orders, in (0, 1].
        rng: draws the orders.
        num_orders: orders drawn; up to seven trials are put into all their orders instead, which is exact.
    """
    v, t, costs = (np.asarray(a, dtype=float) for a in (v, t, costs))
    times, changes, lengths, total = [], [], [], 0
    for orders in _orders(len(v), num_orders, rng):
        total += len(orders)
        best = running_incumbent(v[orders])
        reached = (np.take_along_axis(t[orders], np.maximum(best, 0), axis=1) >= target) & (best >= 0)
        ends = np.cumsum(costs[orders], axis=1)
        step = np.diff(reached.astype(np.int8), axis=1, prepend=0)
        row, column = np.nonzero(step)
        times.append(ends[row, column])
        changes.append(step[row, column])
        lengths.append(column + 1)
    time, change, length = (np.concatenate(parts) for parts in (times, changes, lengths))
    budget = float(costs.sum())
    order = np.argsort(time, kind="stable")
    share = np.cumsum(change[order], dtype=np.int64) / total
    enough = np.flatnonzero(share >= rho - 1e-12)
    if not len(enough):
        return BreakEven(rho=rho, device_seconds=None, num_trials=None, budget=budget)
    first = order[enough[0]]
    return BreakEven(rho=rho, device_seconds=float(time[first]), num_trials=float(length[first]), budget=budget)


def _orders(n: int, num_orders: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Orders (m, n) of n trials, in chunks that fit in memory."""
    if n <= MAX_ENUMERATED:
        yield np.array(list(itertools.permutations(range(n))), dtype=np.int64).reshape(-1, n)
        return
    chunk = max(1, 2_000_000 // n)
    for start in range(0, num_orders, chunk):
        yield np.argsort(rng.random((min(chunk, num_orders - start), n)), axis=1)


def observed_break_even(searches: list[tuple[Floats, Floats, Floats]], target: float, rho: float) -> BreakEven:
    """Break-even of searches as they went, each (v, t, ends) with ends in cumulative device-seconds.

    The smallest budget at which a share >= rho of the searches has an incumbent that reaches the target. With one
    search, that is when this search reached it.
    """
    events: list[tuple[float, int, int]] = []
    for v, t, ends in searches:
        best = running_incumbent(v)
        reached = (t[np.maximum(best, 0)] >= target) & (best >= 0)
        step = np.diff(reached.astype(int), prepend=0)
        events += [(float(ends[i]), int(step[i]), int(i) + 1) for i in np.flatnonzero(step)]
    budget = max((float(ends[-1]) for _, _, ends in searches if len(ends)), default=0.0)
    count = 0
    for time, change, length in sorted(events):
        count += change
        if count >= rho * len(searches) - 1e-12:
            return BreakEven(rho=rho, device_seconds=time, num_trials=float(length), budget=budget)
    return BreakEven(rho=rho, device_seconds=None, num_trials=None, budget=budget)


def normalised_regret(t: ArrayLike, best: float, equal: float) -> Floats:
    """Anytime regret `(best - t) / (best - equal)`: 0 at the best known, 1 at equal weights.

    NaN where nothing is better than equal weights: there is no scale then.
    """
    span = best - equal
    return (best - np.asarray(t, dtype=float)) / span if span > 0 else np.full(np.shape(t), np.nan)


def area_over_log_cost(ends: ArrayLike, values: ArrayLike) -> float | None:
    """Mean of a step function over ln cost, from the first end to the last; None with fewer than two ends."""
    ends, values = np.asarray(ends, dtype=float), np.asarray(values, dtype=float)
    if len(ends) < 2 or not ends[-1] > ends[0] > 0:
        return None
    widths = np.diff(np.log(ends))
    return float(widths @ values[:-1] / widths.sum())


def pareto_front(cost: ArrayLike, quality: ArrayLike) -> NDArray[np.int64]:
    """Indices of the points that no other beats in both, by increasing cost; of equal points the first."""
    cost, quality = np.asarray(cost, dtype=float), np.asarray(quality, dtype=float)
    order = np.lexsort((-quality, cost))
    order = order[np.isfinite(cost[order]) & np.isfinite(quality[order])]
    front: list[int] = []
    for i in order:
        if not front or quality[i] > quality[front[-1]]:
            front.append(int(i))
    return np.array(front, dtype=np.int64)


def hypervolume(cost: ArrayLike, quality: ArrayLike, reference: tuple[float, float]) -> float:
    """Area that the points dominate, bounded by `reference`: the highest cost and the lowest quality that count."""
    cost, quality = np.asarray(cost, dtype=float), np.asarray(quality, dtype=float)
    inside = (cost <= reference[0]) & (quality >= reference[1])
    cost, quality = cost[inside], quality[inside]
    front = pareto_front(cost, quality)
    edges = np.append(cost[front], reference[0])
    return float(np.sum(np.diff(edges) * (quality[front] - reference[1])))


def resampled_speed_ups(
    search: tuple[Floats, Floats, Floats],
    training: tuple[Floats, Floats],
    margin: float,
    rho: float,
    *,
    rng: np.random.Generator,
    num_resamples: int = 400,
    num_orders: int = 200,
) -> Floats:
    """Speed-ups `S_rho = b*(rho) / C_CoV` over resampled trials and CoV seeds; infinite where censored.

    Args:
        search: v, t, costs (n,) of exchangeable trials.
        training: quality and cost (seeds,) of the automatic arm's trainings.
        margin, rho: as in `break_even`; the target is the resampled mean quality minus the margin.
    """
    v, t, costs = search
    quality, training_costs = training
    speed_ups = np.full(num_resamples, np.inf)
    for i in range(num_resamples):
        trials = rng.integers(len(v), size=len(v))
        seeds = rng.integers(len(quality), size=len(quality))
        target = float(quality[seeds].mean()) - margin
        reached = break_even(v[trials], t[trials], costs[trials], target, rho, rng=rng, num_orders=num_orders)
        if reached.device_seconds is not None:
            speed_ups[i] = reached.device_seconds / float(training_costs[seeds].mean())
    return speed_ups


def percentile_interval(samples: ArrayLike, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """Percentile interval of samples that may be infinite; an infinite end is None (censored)."""
    tail = (1 - confidence) / 2
    ends = np.quantile(np.asarray(samples, dtype=float), [tail, 1 - tail], method="inverted_cdf")
    low, high = (float(end) if np.isfinite(end) else None for end in ends)
    return low, high
