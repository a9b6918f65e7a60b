"""How good is the best of k trials? Expected, with a band, where trials are exchangeable; observed where not."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from study.analysis.estimators import expected_best, oriented, running_incumbent, tuning_band
from study.report.evidence import ArmEvidence, Evidence, Floats
from study.report.figures.style import LIGHT, Drawing, colour_of, finish, log_ticks, new_figure, window
from study.report.findings.findings import Findings
from study.report.formats import clean, number, seeds_text, short

MAX_POINTS = 200
"""Numbers of trials at which a long curve is computed."""


def draw(findings: Findings) -> Drawing | None:
    """Validation left, the same trials' test quality right; None where no search has a validated trial."""
    evidence = findings.evidence
    arms = [arm for arm in evidence.of_role("tuned") if any(np.isfinite(s.validation).any() for s in arm.searches)]
    if not arms:
        return None
    figure = new_figure(9.6, 4.1)
    panels = figure.subplots(1, 2, sharex=True)
    for axes, split in zip(panels, ("validation", "test"), strict=True):
        _panel(axes, evidence, arms, split)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return finish(
        figure,
        simulated=evidence.simulated,
        name="tuning_curve",
        title="What the next trial is worth",
        caption=_caption(evidence, arms),
        alt=_alt(evidence, arms),
    )


def drawn_trials(arm: ArmEvidence, goal: str) -> tuple[Floats, Floats]:
    """Oriented v and t of an exchangeable arm's trials that have a value, all replicates pooled.

    Without each search's first trial: that is equal weights, and not drawn at random.
    """
    v, t = (
        np.concatenate(parts)
        for parts in zip(*((search.validation, search.test) for search in arm.searches), strict=True)
    )
    drawn = np.concatenate([np.arange(len(search.validation)) != search.first for search in arm.searches])
    there = drawn & np.isfinite(v)
    return oriented(v[there], goal), oriented(t[there], goal)


def _panel(axes: Axes, evidence: Evidence, arms: list[ArmEvidence], split: str) -> None:
    quantity = evidence.selecting
    central: list[float] = []
    longest = 1
    for arm in arms:
        draw_arm = _draw_expected if arm.exchangeable else _draw_observed
        central += draw_arm(axes, evidence, arm, split)
        longest = max(longest, *(len(search.validation) for search in arm.searches))
    candidate = evidence.candidate
    if candidate is not None and (by_seed := compared_seeds(candidate, arms, evidence.objective, split)):
        quality = sum(by_seed.values()) / len(by_seed)
        central.append(quality)
        label = f"{short(candidate.label)}, one training ({seeds_text(by_seed)})"
        axes.axhline(quality, color=LIGHT["candidate"], linewidth=1.3, label=label)
    if central:
        axes.set_ylim(*window(central, evidence.goal, worse=0.25))
    if longest > 50:
        axes.set_xscale("log")
        log_ticks(axes.xaxis, 1, longest)
    else:
        axes.set_xlim(0.5, longest + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_title("Validation" if split == "validation" else "Test, of the trials that validation picks")
    axes.set_xlabel("trials of a search")
    axes.set_ylabel(f"{quantity.label} ({quantity.unit})" if quantity.unit else quantity.label)


def compared_seeds(candidate: ArmEvidence, arms: list[ArmEvidence], metric: str, split: str) -> dict[int, float]:
    """The candidate's quality by training seed: under the seeds of the searches, if it was trained under all of them;
    else under all that it was trained under."""
    by_seed = candidate.quality_by_seed(metric, split)
    searched = searched_seeds(arms)
    return {seed: by_seed[seed] for seed in searched} if by_seed.keys() >= set(searched) else by_seed


def searched_seeds(arms: list[ArmEvidence]) -> list[int]:
    """Under which the searches of some arms trained."""
    return sorted({search.seed for arm in arms for search in arm.searches})


def _draw_expected(axes: Axes, evidence: Evidence, arm: ArmEvidence, split: str) -> list[float]:
    v, t = drawn_trials(arm, evidence.goal)
    if not len(v) or (split == "test" and not np.isfinite(t).all()):
        return []
    ks = np.unique(np.round(np.geomspace(1, len(v), MAX_POINTS)).astype(int)) if len(v) > 1 else np.array([1])
    colour = colour_of(evidence, arm)
    curve = oriented(expected_best(v, ks, t if split == "test" else None), evidence.goal)
    axes.plot(
        ks,
        curve,
        color=colour,
        linewidth=1.6,
        label=f"{short(arm.label)}: expected best of k ({seeds_text(searched_seeds([arm]))})",
    )
    if split == "validation":
        # Where the data bound nothing the band is open, and drawn to the edge of any window.
        far = 1e6
        low, high = (np.clip(end, -far, far) for end in tuning_band(v, ks))
        axes.fill_between(
            ks,
            oriented(low, evidence.goal),
            oriented(high, evidence.goal),
            color=colour,
            alpha=0.13,
            linewidth=0,
            label=f"{short(arm.label)}: 95 % band of the median, simultaneous",
        )
    return curve.tolist()


def _draw_observed(axes: Axes, evidence: Evidence, arm: ArmEvidence, split: str) -> list[float]:
    colour = colour_of(evidence, arm)
    central: list[float] = []
    for i, search in enumerate(arm.searches):
        best = running_incumbent(oriented(search.validation, evidence.goal))
        values = search.validation if split == "validation" else search.test
        known = (best >= 0) & np.isfinite(values[best])
        if not known.any():
            continue
        curve = values[best[known]]
        axes.step(
            np.flatnonzero(known) + 1,
            curve,
            where="post",
            color=colour,
            linewidth=1.5,
            alpha=0.9,
            label=f"{short(arm.label)}: incumbent as observed ({seeds_text(searched_seeds([arm]))})"
            if i == 0
            else None,
        )
        central += curve.tolist()
    return central


def _caption(evidence: Evidence, arms: list[ArmEvidence]) -> str:
    parts = [f"{evidence.selecting.label} of the best validated of k trials."]
    for arm in arms:
        if arm.exchangeable:
            parts.append(
                f"{clean(arm.label)} draws its trials at random, so any order of them was equally likely: the unbiased "
                "expectation over orders (equal weights, tried first, left out), and the band that holds the whole "
                "curve of the median best with 95 % confidence; where it is open, the trials do not bound it."
            )
        else:
            parts.append(
                f"{clean(arm.label)} learns from its earlier trials, so only the order that was observed counts: "
                f"{'one line a search' if len(arm.searches) > 1 else 'the one search there is'}, without a band."
            )
    candidate = evidence.candidate
    if candidate is not None:
        line = compared_seeds(candidate, arms, evidence.objective, "validation")
        if line and set(line) != set(searched_seeds(arms)):
            parts.append(
                f"The line is {clean(candidate.label)} under {seeds_text(line)}, the trials are under "
                f"{seeds_text(searched_seeds(arms))}: a seed moves quality by itself, so which lies above says little."
            )
    return " ".join(parts)


def _alt(evidence: Evidence, arms: list[ArmEvidence]) -> str:
    quantity = evidence.selecting
    parts = [f"Curves of {quantity.label} against the number of trials."]
    for arm in arms:
        for search in arm.searches:
            best = running_incumbent(oriented(search.validation, evidence.goal))
            if best[-1] >= 0:
                value = number(float(search.validation[best[-1]]), quantity.decimals)
                parts.append(f"{clean(arm.name)}, search {search.replicate}: best validated {value} {quantity.unit}.")
    return " ".join(parts)
