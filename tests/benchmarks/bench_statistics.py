"""Do the report's statistics keep what they promise? Simulated studies with a known truth.

Each line of the printed table is a promise, what was found, and its Monte Carlo error (two standard errors).
Usage: python tests/benchmarks/bench_statistics.py [--studies 2000]
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from study.analysis.estimators import (
    break_even,
    expected_best,
    percentile_interval,
    resampled_speed_ups,
    tuning_band,
)
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

SUBJECTS = 24
SD = 1.0
Draw = Callable[[np.random.Generator, int], np.ndarray]

DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(0, SD, n),
    "skewed (exponential)": lambda rng, n: rng.exponential(SD, n) - SD,
    "heavy tails (t, 4 df)": lambda rng, n: rng.standard_t(4, n) / math.sqrt(2),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One promise and what became of it."""

    what: str
    where: str
    promised: str
    found: float
    studies: int

    def __str__(self) -> str:
        error = 2 * math.sqrt(max(self.found * (1 - self.found), 1e-9) / self.studies)
        found = f"{100 * self.found:.1f} ± {100 * error:.1f} %"
        return f"| {self.what} | {self.where} | {self.promised} | {found} | {self.studies} |"


def covers(interval: Interval, truth: float) -> bool:
    """Whether the interval holds the truth; an open end holds everything beyond."""
    return (interval.low is None or interval.low <= truth) and (interval.high is None or truth <= interval.high)


def subjects_intervals(studies: int) -> Iterator[Line]:
    """The t interval, which decides, and the BCa interval beside it, over 24 subjects."""
    for name, draw in DISTRIBUTIONS.items():
        rng = np.random.default_rng(1)
        hits = np.zeros(2)
        for _ in range(studies):
            found = paired(0.3 + draw(rng, SUBJECTS), num_resamples=1999)
            assert found is not None
            hits += [covers(found.t, 0.3), covers(found.bca, 0.3)]
        for method, count in zip(("t", "BCa"), hits, strict=True):
            where = f"differences {name}, N = {SUBJECTS}"
            yield Line(
                what=f"95 % interval, {method}", where=where, promised="95 %", found=count / studies, studies=studies
            )


def noninferiority(studies: int) -> Iterator[Line]:
    """Error and power of the verdict at the margin that 24 subjects resolve with 80 % power."""
    margin = margin_for_power(SD, SUBJECTS)
    for truth, what in (
        (-margin, "falsely non-inferior"),
        (0.0, "shown non-inferior"),
        (margin / 2, "shown non-inferior"),
    ):
        rng = np.random.default_rng(2)
        hits = 0
        for _ in range(studies):
            found = paired(rng.normal(truth, SD, SUBJECTS), num_resamples=0)
            assert found is not None
            hits += judge(found.t, margin) in ("superior", "non-inferior")
        predicted = noninferiority_power(margin, SD, SUBJECTS, difference=truth)
        promised = "at most 2.5 %" if truth < 0 else f"{100 * predicted:.1f} %"
        where = f"true difference {truth:+.2f} sd, margin {margin:.2f} sd"
        yield Line(what=what, where=where, promised=promised, found=hits / studies, studies=studies)


def family(studies: int) -> Iterator[Line]:
    """Holm over seven arms that are all alike: how often any Wilcoxon test calls a difference."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(studies):
        candidate = rng.normal(0, SD, SUBJECTS)
        others = rng.normal(0, SD, (7, SUBJECTS))
        adjusted = holm([float(stats.wilcoxon(candidate - other).pvalue) for other in others])
        hits += any(p is not None and p < 0.05 for p in adjusted)
    where = "seven pairs, none different"
    yield Line(what="any false star", where=where, promised="at most 5 %", found=hits / studies, studies=studies)


def runs(studies: int) -> Iterator[Line]:
    """Three seeds a side, each with an effect of its own: what the two kinds of interval are intervals of."""
    rng = np.random.default_rng(4)
    same, anew, mixed = 0, 0, 0
    for _ in range(studies):
        effects = rng.normal(0, 0.1, (2, 3))
        subject = rng.normal(0, 1.3, SUBJECTS)
        scores = subject + effects[..., None] + rng.normal(0, 0.2, (2, 3, SUBJECTS))
        candidate, reference = scores[0] + 0.2, scores[1]
        found = paired((candidate - reference).mean(axis=0), num_resamples=0)
        model = mixed_model(candidate, reference)
        assert found is not None
        assert model is not None
        same += covers(found.t, 0.2 + float(effects[0].mean() - effects[1].mean()))
        anew += covers(found.t, 0.2)
        mixed += model.low <= 0.2 <= model.high
    where = "three seeds a side, sd of runs 0.1 dB, of residuals 0.2 dB"
    yield Line(what="t, for these trained models", where=where, promised="95 %", found=same / studies, studies=studies)
    yield Line(
        what="t, for trainings anew", where=where, promised="none: see caveats", found=anew / studies, studies=studies
    )
    yield Line(
        what="mixed model, for trainings anew", where=where, promised="95 %", found=mixed / studies, studies=studies
    )


def cost_ratio(studies: int) -> Iterator[Line]:
    """What a search of 12 trials costs in trainings, three seeds to measure a training by."""
    for seeds, spread in ((3, 0.03), (3, 0.1), (2, 0.03), (5, 0.03)):
        rng = np.random.default_rng(5)
        hits = 0
        for _ in range(studies):
            trials, trainings = rng.normal(100, 100 * spread, 12), rng.normal(80, 80 * spread, seeds)
            hits += covers(log_ratio_interval(trials, trainings, count=12), 12 * 100 / 80)
        where = f"12 trials, {seeds} seeds, spread of a cost {100 * spread:.0f} %"
        yield Line(what="cost ratio, 95 %", where=where, promised="95 %", found=hits / studies, studies=studies)


def tuning_curves(studies: int) -> Iterator[Line]:
    """Whether the band holds the whole curve of the median best, k = 1..n."""
    for n in (12, 30):
        rng, ks = np.random.default_rng(6), np.arange(1, n + 1)
        truth = stats.norm.ppf(0.5 ** (1 / ks))
        some = min(studies, 400)
        hits = 0
        for _ in range(some):
            low, high = tuning_band(rng.normal(size=n), ks)
            hits += bool(((low <= truth) & (truth <= high)).all())
        where = f"random search, {n} trials, the whole curve"
        yield Line(what="tuning band, 95 %", where=where, promised="95 %", found=hits / some, studies=some)


def unbiasedness(studies: int) -> Iterator[str]:
    """The expected best of all 20 trials against the truth, and against the estimator with replacement."""
    rng = np.random.default_rng(7)
    draws = rng.normal(size=(10 * studies, 20))
    unbiased = float(np.mean([expected_best(row, 20)[0] for row in draws]))
    i = np.arange(1, 21)
    biased = float(np.mean(np.sort(draws, axis=1) @ ((i / 20) ** 20 - ((i - 1) / 20) ** 20)))
    yield (
        f"Expected best of 20 standard normal scores: truth 1.867, unbiased estimate {unbiased:.3f}, "
        f"with replacement {biased:.3f} ({len(draws)} searches)."
    )


def speed_ups(studies: int) -> Iterator[Line]:
    """The percentile interval of S at 50 %, from 40 random trials and three seeds."""
    some = min(studies, 200)
    target, margin, noise = 1.0, 0.2, 0.2

    def search(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        v = rng.normal(size=n)
        return v, v + rng.normal(0, noise, n), rng.normal(100, 5, n)

    v, t, costs = search(np.random.default_rng(0), 3000)
    truth = break_even(v, t, costs, target, 0.5, rng=np.random.default_rng(0), num_orders=4000).device_seconds
    assert truth is not None
    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(some):
        seeds = rng.normal(target + margin, 0.05, 3), rng.normal(80, 3, 3)
        samples = resampled_speed_ups(search(rng, 40), seeds, margin, 0.5, rng=rng, num_resamples=200, num_orders=100)
        low, high = percentile_interval(samples)
        hits += covers(Interval(low=low, high=high), truth / 80)
    where = "random search, 40 trials, 3 seeds"
    yield Line(what="speed-up at 50 %, 95 %", where=where, promised="95 %", found=hits / some, studies=some)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    studies = parser.parse_args().studies
    started = time.perf_counter()
    print("| promise | where | promised | found | studies |\n|---|---|---:|---:|---:|")
    for part in (subjects_intervals, noninferiority, family, runs, cost_ratio, tuning_curves, speed_ups):
        for line in part(studies):
            print(line, flush=True)
    print()
    for text in unbiasedness(studies):
        print(text)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
