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
"""Up to so many trials the band is opda's exact one, beyond it the Dvoretzky-Kiefer-Wolfowitz one: wider, instant.

The exact one holds for values that all differ; the other one for any."""


def tuning_band(v: ArrayLike, ks: ArrayLike, *, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Simultaneous confidence band (low, high) for the *median* best of k exchangeable trials, at each k.

    Lourie, Cho, He 2024, "Show your work with confidence" (`opda`): with this confidence the whole curve of a
    search that goes on drawing from the same distribution lies inside. An end is infinite where n trials cannot
    bound it.
    """
    from opda.nonparametric import EmpiricalDistribution

    values = np.asarray(v, dtype=float)
    exact = len(np.unique(values)) == len(values) <= EXACT_BAND_TRIALS
    method = "ld_equal_tailed" if exact else "dkw"
    low_cdf, _, high_cdf = EmpiricalDistribution.confidence_bands(values, confidence, method=method, n_jobs=1)
    return high_cdf.quantile_tuning_curve(ks), low_cdf.quantile_tuning_curve(ks)


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """The smallest budget at which a search is as good as a target, with probability `rho`."""

    rho: float
    device_seconds: float | None
    """None where the search did not reach it: the answer is censored at `budget`."""
    num_trials: float | None
    """Trials that had ended by then, mean over the orders that reach the target at that moment."""
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
    num_first: int = 0,
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
        num_first: so many trials at the front were not drawn: searches begin with them. Every order begins with one
            of them, each as likely, and holds none of the others.
    """
    v, t, costs = (np.asarray(a, dtype=float) for a in (v, t, costs))
    events, total = [], 0
    for orders in _orders(len(v) - num_first, num_first, num_orders, rng):
        total += len(orders)
        events.append(_steps(v[orders], t[orders], np.cumsum(costs[orders], axis=1), target))
    budget = float(costs[num_first:].sum() + (costs[:num_first].mean() if num_first else 0.0))
    return _smallest_budget(events, total, rho, budget)


def _orders(num_drawn: int, num_first: int, num_orders: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Orders (m, n) of the drawn trials, behind one of the first if there are any, in chunks that fit in memory."""
    if num_drawn <= MAX_ENUMERATED:
        every = list(itertools.permutations(range(num_first, num_first + num_drawn)))
        firsts = [[i] for i in range(num_first)] or [[]]
        yield np.array([[*first, *order] for first in firsts for order in every], dtype=np.int64)
        return
    chunk = max(1, 2_000_000 // num_drawn)
    for start in range(0, num_orders, chunk):
        size = min(chunk, num_orders - start)
        orders = num_first + np.argsort(rng.random((size, num_drawn)), axis=1)
        yield np.hstack([rng.integers(num_first, size=(size, 1)), orders]) if num_first else orders


def observed_break_even(searches: list[tuple[Floats, Floats, Floats]], target: float, rho: float) -> BreakEven:
    """Break-even of searches as they went, each (v, t, ends) with ends in cumulative device-seconds.

    The smallest budget at which a share >= rho of the searches has an incumbent that reaches the target. With one
    search, that is when this search reached it.
    """
    events = [_steps(v[None], t[None], ends[None], target) for v, t, ends in searches]
    budget = max((float(ends[-1]) for _, _, ends in searches if len(ends)), default=0.0)
    return _smallest_budget(events, len(searches), rho, budget)


Events = tuple[Floats, NDArray[np.int64], NDArray[np.int64]]
"""Time of each event, +1 where an incumbent begins to reach the target or -1 where it ceases to, trials by then."""


def _steps(v: Floats, t: Floats, ends: Floats, target: float) -> Events:
    """When the incumbents of searches, a row each, begin and cease to reach the target."""
    best = running_incumbent(v)
    reached = (np.take_along_axis(t, np.maximum(best, 0), axis=1) >= target) & (best >= 0)
    before = np.concatenate([np.zeros_like(reached[:, :1]), reached[:, :-1]], axis=1)
    row, column = np.nonzero(reached != before)
    return ends[row, column], np.where(reached[row, column], 1, -1), column + 1


SAME_MOMENT = 1e-9
"""Share of the longest time within which two times are one: sums of the same costs differ in their last bits."""


def _smallest_budget(events: list[Events], num_orders: int, rho: float, budget: float) -> BreakEven:
    """The first moment after which a share >= rho of the orders reaches the target.

    All changes of a moment are summed before the share is read: with equal costs many orders rise and fall at once,
    and in the midst of them the share is no one's.
    """
    if not events:
        return BreakEven(rho=rho, device_seconds=None, num_trials=None, budget=budget)
    time, change, length = (np.concatenate(parts) for parts in zip(*events, strict=True))
    order = np.argsort(time, kind="stable")
    time, change, length = time[order], change[order], length[order]
    last = np.flatnonzero(np.diff(time, append=np.inf) > SAME_MOMENT * time.max(initial=0.0))
    share = np.cumsum(change)[last] / num_orders
    enough = np.flatnonzero(share >= rho - 1e-12)
    if not len(enough):
        return BreakEven(rho=rho, device_seconds=None, num_trials=None, budget=budget)
    moment = enough[0]
    start, end = (last[moment - 1] + 1 if moment else 0), last[moment] + 1
    risen = length[start:end][change[start:end] > 0]
    return BreakEven(rho=rho, device_seconds=float(time[end - 1]), num_trials=float(risen.mean()), budget=budget)


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
    num_first: int = 0,
) -> Floats:
    """Speed-ups `S_rho = b*(rho) / C_CoV` over resampled trials and CoV seeds; infinite where censored.

    Args:
        search: v, t, costs (n,) of exchangeable trials.
        training: quality and cost (seeds,) of the automatic arm's trainings.
        margin, rho, num_first: as in `break_even`; the target is the resampled mean quality minus the margin.
    """
    v, t, costs = search
    quality, training_costs = training
    speed_ups = np.full(num_resamples, np.inf)
    for i in range(num_resamples):
        drawn = rng.integers(num_first, len(v), size=len(v) - num_first)
        trials = np.concatenate([rng.integers(num_first, size=num_first), drawn]) if num_first else drawn
        seeds = rng.integers(len(quality), size=len(quality))
        target = float(quality[seeds].mean()) - margin
        resampled = v[trials], t[trials], costs[trials]
        reached = break_even(*resampled, target, rho, rng=rng, num_orders=num_orders, num_first=num_first)
        if reached.device_seconds is not None:
            speed_ups[i] = reached.device_seconds / float(training_costs[seeds].mean())
    return speed_ups


def percentile_interval(samples: ArrayLike, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """Percentile interval of samples that may be infinite; an infinite end is None (censored)."""
    tail = (1 - confidence) / 2
    ends = np.quantile(np.asarray(samples, dtype=float), [tail, 1 - tail], method="inverted_cdf")
    low, high = (float(end) if np.isfinite(end) else None for end in ends)
    return low, high
