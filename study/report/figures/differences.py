"""Is it as good? Paired differences of the candidate from every arm, with the margin; and subject by subject."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from study.report.evidence import ArmEvidence, Evidence, Floats
from study.report.figures.forest import draw_estimate, dress_panel, name_rows
from study.report.figures.style import LIGHT, MARKERS, Drawing, colour_of, competitors, finish, new_figure
from study.report.findings.findings import Findings
from study.report.findings.quality import Comparison, Pair
from study.report.formats import QUANTITIES, clean, interval_text, number

NEARBY = 0.5
"""How far beyond the competing arms, in units of their range, another arm is still drawn in its place."""


def draw_forest(findings: Findings) -> Drawing | None:
    """Mean paired difference from each arm with its 95 % interval; None where nothing can be paired."""
    evidence = findings.evidence
    others = [arm for arm in evidence.arms.values() if any(pair.arm == arm.name for pair in findings.pairs)]
    if evidence.candidate is None or not others:
        return None
    figure = new_figure(9.6, 0.95 + 0.3 * len(others))
    panels = figure.subplots(1, len(QUANTITIES), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, QUANTITIES, strict=True):
        pairs = {pair.arm: pair for pair in findings.pairs if pair.metric == metric}
        _forest_panel(axes, evidence, metric, others, pairs, findings.decisive.get(metric))
    name_rows(panels[0], [arm.label for arm in others])
    name = clean(evidence.candidate.label)
    return finish(
        figure,
        simulated=evidence.simulated,
        name="differences",
        title=f"{name} less every other arm",
        caption=(
            f"Mean difference in mask, paired by test subject, with its 95 % t interval; right of 0 favours {name} in "
            "every metric. Shaded: the non-inferiority margin against the tuned arm; an interval that stays right of "
            "its left edge is non-inferior. Arrows: beyond the window."
        ),
        alt=_forest_alt(findings),
    )


def _forest_panel(
    axes: Axes,
    evidence: Evidence,
    metric: str,
    others: list[ArmEvidence],
    pairs: dict[str, Pair],
    comparison: Comparison | None,
) -> None:
    quantity = QUANTITIES[metric]
    low, high = _forest_window(evidence, pairs, comparison)
    axes.set_xlim(low, high)
    if comparison is not None and comparison.margin.value > 0:
        axes.axvspan(-comparison.margin.value, 0, color=LIGHT["band"], linewidth=0, zorder=0)
        axes.axvline(-comparison.margin.value, color=LIGHT["muted"], linewidth=0.8, linestyle=(0, (4, 3)))
    dress_panel(axes, quantity)
    for row, arm in enumerate(others):
        pair = pairs.get(arm.name)
        if pair is None:
            continue
        colour, centre, interval = colour_of(evidence, arm), pair.paired.difference, pair.paired.t
        if not low <= centre <= high:
            right = centre > high
            axes.plot(
                [high if right else low], [row], marker=">" if right else "<", color=colour, clip_on=False, markersize=5
            )
            axes.annotate(
                number(centre, quantity.decimals, signed=True),
                (high if right else low, row),
                xytext=(-7 if right else 7, 0),
                textcoords="offset points",
                ha="right" if right else "left",
                va="center",
                fontsize=7,
                color=LIGHT["muted"],
            )
            continue
        wide = arm is evidence.reference
        draw_estimate(axes, row, centre, interval, colour=colour, marker=MARKERS[arm.role], wide=wide)


def _forest_window(evidence: Evidence, pairs: dict[str, Pair], comparison: Comparison | None) -> tuple[float, float]:
    """A window on 0, the margin and the arms that compete."""
    central = [0.0] + ([-comparison.margin.value] if comparison else [])
    for name in competitors(evidence, {name: pair.paired.difference for name, pair in pairs.items()}, "min"):
        found = pairs[name].paired
        central += [found.difference, *(end for end in (found.t.low, found.t.high) if end is not None)]
    low, high = min(central), max(central)
    # What lies a little outside is let in; an arrow is for what would press all others together.
    near = [pair.paired.difference for pair in pairs.values()]
    reach = NEARBY * (high - low)
    inside = [low, high, *(value for value in near if low - reach <= value <= high + reach)]
    low, high = min(inside), max(inside)
    pad = 0.12 * (high - low) or 1.0
    return low - pad, high + pad


def _forest_alt(findings: Findings) -> str:
    parts = ["Forest plot of paired differences."]
    for pair in findings.pairs:
        quantity, interval = QUANTITIES[pair.metric], pair.paired.t
        text = f"{quantity.label} less {clean(pair.arm)}: {quantity.format(pair.paired.difference, signed=True)}"
        if interval.low is not None:
            text += f" ({interval_text(interval.low, interval.high, quantity.decimals)})"
        parts.append(text + ".")
    return " ".join(parts)


def draw_subjects(findings: Findings) -> Drawing | None:
    """Difference of every test subject, candidate less reference, sorted; None where they cannot be paired."""
    evidence = findings.evidence
    if evidence.candidate is None or evidence.reference is None or not findings.decisive:
        return None
    figure = new_figure(9.6, 2.9)
    panels = figure.subplots(1, len(QUANTITIES), squeeze=False)[0]
    for axes, metric in zip(panels, QUANTITIES, strict=True):
        if metric in findings.decisive:
            _subjects_panel(axes, findings.decisive[metric])
        else:
            axes.set_axis_off()
    candidate, reference = clean(evidence.candidate.label), clean(evidence.reference.label)
    better = [
        f"{QUANTITIES[metric].label} {int((_known(c) > 0).sum())} of {c.paired.num_subjects}"
        for metric, c in findings.decisive.items()
    ]
    return finish(
        figure,
        simulated=evidence.simulated,
        name="subjects",
        title="Subject by subject",
        caption=(
            f"{candidate} less {reference} of every test subject ({findings.evidence.averaged} averaged), sorted; "
            f"above 0 {candidate} is better. Line: the mean. Shaded: the margin."
        ),
        alt=f"Dot plots of differences by test subject. Better with {candidate}: {', '.join(better)} subjects.",
    )


def _known(comparison: Comparison) -> Floats:
    """Differences of the subjects that both arms have a score of."""
    return comparison.differences[np.isfinite(comparison.differences)]


def _subjects_panel(axes: Axes, comparison: Comparison) -> None:
    quantity = QUANTITIES[comparison.metric]
    d = np.sort(_known(comparison))
    rank = np.arange(1, len(d) + 1)
    if comparison.margin.value > 0:
        axes.axhspan(-comparison.margin.value, 0, color=LIGHT["band"], linewidth=0, zorder=0)
    axes.axhline(0, color=LIGHT["ink"], linewidth=0.8)
    axes.axhline(d.mean(), color=LIGHT["candidate"], linewidth=1.2)
    for favours, name, marker in ((d > 0, "candidate", "o"), (d <= 0, "reference", "D")):
        axes.vlines(rank[favours], 0, d[favours], color=LIGHT[name], linewidth=0.8, alpha=0.6)
        axes.scatter(rank[favours], d[favours], s=16, marker=marker, color=LIGHT[name], linewidths=0, zorder=3)
    axes.set_title(quantity.label)
    axes.set_xlabel("test subject, sorted")
    axes.set_ylabel(quantity.axis)
    axes.grid(axis="x", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
