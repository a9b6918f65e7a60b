"""Paired statistics over the test subjects. The unit is the subject: slices are not samples.

`d` is the paired difference (N,), candidate minus reference, oriented so that **positive favours the
candidate**, each side averaged over its seeds beforehand.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Verdict = Literal["superior", "non-inferior", "inferior", "inconclusive", "not testable"]

Outcome = Literal[
    "superior", "non-inferior", "non-inferior, worse", "worse, margin open", "inferior", "undecided", "not testable"
]
"""The verdict with its direction; see `outcome`."""

MIN_BOOTSTRAP = 8
"""Fewer subjects are not resampled: their bootstrap means hardly leave the data, and claim too much."""
ROUND_DECIMALS = 9
"""Differences are rounded before ranking: a tie is a tie, not rounding noise (see `scipy.stats.wilcoxon`)."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval; an end is None where the data give none, or where it is unbounded."""

    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Paired:
    """What is known of a paired difference over N subjects."""

    num_subjects: int
    difference: float
    sd: float | None
    """Sample standard deviation of d (N - 1); None below two subjects."""
    t: Interval
    """Student's t interval: its lower end decides on non-inferiority."""
    bca: Interval
    """Bias-corrected and accelerated bootstrap interval of the mean, expanded for small samples."""
    p_wilcoxon: float | None
    """Two-sided Wilcoxon signed-rank test of symmetry about 0."""
    effect_size: float | None
    """`d_z` = mean / sd; None where sd is 0."""
    rank_biserial: float | None
    """`(W+ - W-) / (W+ + W-)`, in [-1, 1]."""


def paired(d: ArrayLike, *, confidence: float = 0.95, num_resamples: int = 4999, seed: int = 0) -> Paired | None:
    """Describes paired differences; NaN entries are left out. None if none is left.

    Args:
        d: differences (N,).
        confidence: of the two-sided intervals.
        num_resamples: of the bootstrap; 0 leaves it out.
        seed: of the bootstrap.
    """
    from scipy import stats

    values = np.asarray(d, dtype=float)
    values = values[np.isfinite(values)]
    n = len(values)
    if n == 0:
        return None
    mean = float(values.mean())
    nothing = Interval(low=None, high=None)
    if n == 1:
        return Paired(
            num_subjects=1, difference=mean, sd=None, t=nothing, bca=nothing, p_wilcoxon=None,
            effect_size=None, rank_biserial=None,
        )  # fmt: skip
    sd = float(values.std(ddof=1))
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1) * sd / np.sqrt(n))
    rounded = np.round(values, ROUND_DECIMALS)
    spread = bool(np.ptp(rounded) > 0)
    bca = nothing if spread else Interval(low=mean, high=mean)
    if spread and num_resamples and n >= MIN_BOOTSTRAP:
        # A bootstrap of few values is too narrow: it takes the population SD and the normal quantile. Hesterberg
        # (2015, "What teachers should know about the bootstrap") widens its level by what Student's t would.
        wider = stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf(0.5 + confidence / 2, n - 1))
        result = stats.bootstrap(
            (values,), np.mean, confidence_level=2 * wider - 1, n_resamples=num_resamples, method="BCa",
            rng=np.random.default_rng(seed),
        )  # fmt: skip
        low, high = (float(end) for end in result.confidence_interval)
        bca = Interval(low=low, high=high) if np.isfinite([low, high]).all() else nothing
    return Paired(
        num_subjects=n,
        difference=mean,
        sd=sd,
        t=Interval(low=mean - half, high=mean + half),
        bca=bca,
        p_wilcoxon=float(stats.wilcoxon(rounded).pvalue) if rounded.any() else 1.0,
        effect_size=mean / sd if spread else None,
        rank_biserial=_rank_biserial(rounded),
    )


def _rank_biserial(d: NDArray[np.float64]) -> float:
    """Matched-pairs rank-biserial correlation; zero differences carry no rank."""
    from scipy import stats

    d = d[d != 0]
    if not len(d):
        return 0.0
    ranks = stats.rankdata(np.abs(d))
    return float(np.sum(np.sign(d) * ranks) / ranks.sum())


def judge(interval: Interval, margin: float) -> Verdict:
    """The verdict of a two-sided 95 % interval against a margin >= 0.

    `superior`: all of it above 0. `non-inferior`: all of it above -margin (a one-sided test at 2.5 %).
    `inferior`: all of it below -margin. Else `inconclusive`.
    """
    if interval.low is None or interval.high is None:
        return "not testable"
    if interval.low > 0:
        return "superior"
    if interval.low > -margin:
        return "non-inferior"
    return "inferior" if interval.high < -margin else "inconclusive"


def outcome(interval: Interval, margin: float) -> Outcome:
    """The verdict, and whether the candidate is shown to be worse: all of the interval below 0.

    `non-inferior, worse`: by less than the margin. `worse, margin open`: it is open whether by more than the margin.
    `undecided`: the interval holds 0 and reaches beyond the margin.
    """
    verdict = judge(interval, margin)
    worse = interval.high is not None and interval.high < 0
    if verdict == "non-inferior" and worse:
        return "non-inferior, worse"
    if verdict == "inconclusive":
        return "worse, margin open" if worse else "undecided"
    return verdict


def noninferiority_power(margin: float, sd: float, n: int, *, difference: float = 0.0, alpha: float = 0.025) -> float:
    """Probability of showing non-inferiority in `n` subjects at a true `difference`: noncentral t, n - 1 df."""
    from scipy import stats

    critical = stats.t.ppf(1 - alpha, n - 1)
    return float(stats.nct.sf(critical, n - 1, (difference + margin) / (sd / np.sqrt(n))))


def margin_for_power(sd: float, n: int, *, power: float = 0.8, alpha: float = 0.025) -> float:
    """The smallest margin within which non-inferiority would be shown with this power, were nothing different."""
    from scipy import optimize

    return float(optimize.brentq(lambda m: noninferiority_power(m, sd, n, alpha=alpha) - power, 0.0, 100.0 * sd))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment over the tests that exist (None stays None)."""
    from statsmodels.stats.multitest import multipletests

    known = [p for p in p_values if p is not None]
    adjusted = iter(multipletests(known, method="holm")[1].tolist() if known else [])
    return [None if p is None else next(adjusted) for p in p_values]


@dataclass(frozen=True, kw_only=True)
class MixedModel:
    """Effect of the method with subjects and training runs both taken as random samples."""

    difference: float
    low: float
    high: float
    sd_subject: float
    sd_run: float
    sd_residual: float
    converged: bool


def mixed_model(
    candidate: NDArray[np.float64], reference: NDArray[np.float64], *, confidence: float = 0.95
) -> MixedModel | None:
    """Fits `score ~ method` with crossed random effects of subject and run (seed), by REML.

    Args:
        candidate: scores (runs, subjects), oriented, without NaN.
        reference: scores (runs, subjects) on the same subjects.
        confidence: of the interval, a t interval on `runs - 2` degrees of freedom: runs are few, and the normal
            interval of statsmodels would claim too much.

    Returns:
        None with fewer than two runs a side or three subjects (nothing to estimate a run effect from), or where
        the fit fails.
    """
    if min(len(candidate), len(reference)) < 2 or candidate.shape[1] < 3:
        return None
    import pandas as pd
    import statsmodels.formula.api as smf
    from scipy import stats

    scores = np.vstack([reference, candidate])
    runs, subjects = scores.shape
    scale = float(scores.std())
    if not scale > 0:
        return None
    frame = pd.DataFrame(
        {
            "score": (scores.ravel() - scores.mean()) / scale,
            "method": np.repeat([0.0] * len(reference) + [1.0] * len(candidate), subjects),
            "run": np.repeat(np.arange(runs), subjects),
            "subject": np.tile(np.arange(subjects), runs),
            "everything": 0,
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = smf.mixedlm(
                "score ~ method", frame, groups="everything", re_formula="0",
                vc_formula={"run": "0 + C(run)", "subject": "0 + C(subject)"},
            ).fit()  # fmt: skip
        except (np.linalg.LinAlgError, ValueError):
            return None
    estimate, error = float(fit.fe_params["method"]), float(fit.bse_fe["method"])
    variances = dict(zip(fit.model.exog_vc.names, fit.vcomp, strict=True))
    if not np.isfinite([estimate, error]).all():
        return None
    half = float(stats.t.ppf(0.5 + confidence / 2, runs - 2)) * error
    return MixedModel(
        difference=estimate * scale,
        low=(estimate - half) * scale,
        high=(estimate + half) * scale,
        sd_subject=float(np.sqrt(variances["subject"])) * scale,
        sd_run=float(np.sqrt(variances["run"])) * scale,
        sd_residual=float(np.sqrt(fit.scale)) * scale,
        converged=bool(fit.converged),
    )


def log_ratio_interval(
    numerator: ArrayLike, denominator: ArrayLike, *, count: float, confidence: float = 0.95
) -> Interval:
    """Interval of `count * mean(numerator) / mean(denominator)`: a search of `count` trials, in trainings.

    Delta method on the logarithm. The quantile is Cochran and Cox's: that of either side's own degrees of freedom,
    weighted by its part of the variance, since one side may be three seeds, where Welch's claims too much. A side
    with one value adds nothing to the width; with one value on both there is no interval.
    """
    from scipy import stats

    sides = [np.asarray(side, dtype=float) for side in (numerator, denominator)]
    variances, freedoms = [], []
    for side in sides:
        if len(side) >= 2:
            variances.append(float(side.var(ddof=1)) / len(side) / float(side.mean()) ** 2)
            freedoms.append(len(side) - 1)
    if not variances:
        return Interval(low=None, high=None)
    value = count * float(sides[0].mean()) / float(sides[1].mean())
    total = sum(variances)
    if total == 0:
        return Interval(low=value, high=value)
    quantile = sum(v * stats.t.ppf(0.5 + confidence / 2, f) for v, f in zip(variances, freedoms, strict=True)) / total
    factor = float(np.exp(quantile * np.sqrt(total)))
    return Interval(low=value / factor, high=value * factor)
