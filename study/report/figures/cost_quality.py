"""What does quality cost? Every trial, the searches' incumbents and the arms, against the device-seconds paid."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from study.analysis.estimators import oriented, pareto_front, running_incumbent
from study.report.evidence import ArmEvidence, Evidence, Floats, SearchEvidence
from study.report.figures.labels import Label, place
from study.report.figures.style import (
    FRONT,
    LIGHT,
    Drawing,
    cloud_is_large,
    colour_of,
    competitors,
    draw_arm,
    finish,
    is_central,
    log_ticks,
    new_figure,
    window,
)
from study.report.findings.costs import Mark, arm_mark
from study.report.findings.findings import Findings
from study.report.formats import clean, number, percent, seconds, seeds_text, short

MAX_HOVER_POINTS = 2000

Point = tuple[Axes, float, float, str]


def draw(findings: Findings) -> Drawing:
    """Two panels with the same axis of cost: the test subjects, and the validation subjects that the search saw."""
    evidence = findings.evidence
    figure = new_figure(9.6, 4.5)
    panels = figure.subplots(1, 2, sharex=True)
    points: list[Point] = []
    for axes, split in zip(panels, ("test", "validation"), strict=True):
        points += _panel(axes, findings, split)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4)
    quantity = evidence.selecting
    searched = sorted({search.seed for arm in evidence.of_role("tuned") for search in arm.searches})
    whose = f" The search’s trials were trained under {seeds_text(searched)}." if searched else ""
    return finish(
        figure,
        simulated=evidence.simulated,
        name="cost_quality",
        title="Quality against what was paid for it",
        caption=(
            f"{quantity.label} in mask against device-seconds (logarithmic). A search’s trials stand where its bill "
            "stood when they ended, and its incumbent is the best validated of them so far. An arm stands at what one "
            "training cost (tuned: one search) and at the mean of its seeds. What is far worse than the arms that "
            f"compete is marked at the lower edge.{whose}"
        ),
        alt=_alt(findings),
        points=points[:MAX_HOVER_POINTS],
    )


def _panel(axes: Axes, findings: Findings, split: str) -> list[Point]:
    evidence = findings.evidence
    quantity = evidence.selecting
    marks = {name: arm_mark(arm, evidence.objective, split) for name, arm in evidence.arms.items()}
    shown = {name: mark for name, mark in marks.items() if mark is not None}
    searches = [(arm, search) for arm in evidence.of_role("tuned") for search in arm.searches]
    _set_window(axes, evidence, shown, [search for _, search in searches], split)
    points: list[Point] = []
    for arm, search in searches:
        points += _draw_search(axes, evidence, arm, search, split)
    points += [_draw_mark(axes, evidence, evidence.arms[name], mark) for name, mark in shown.items()]
    _draw_front(axes, evidence, shown)
    _draw_target(axes, findings, split, list(shown.values()))
    log_ticks(axes.xaxis, *axes.get_xlim())
    axes.set_xlabel("device-seconds paid")
    axes.set_ylabel(f"{quantity.label} ({quantity.unit})" if quantity.unit else quantity.label)
    axes.set_title("Test subjects" if split == "test" else "Validation subjects, which the search sees")
    named = competitors(evidence, {name: quality for name, (_, quality) in shown.items()}, evidence.goal)
    inside = {name: shown[name] for name in named}
    place(
        axes,
        [
            Label(
                x=cost,
                y=quality,
                text=evidence.arms[name].label,
                colour=colour_of(evidence, evidence.arms[name]),
                bold=is_central(evidence, evidence.arms[name]),
            )
            for name, (cost, quality) in inside.items()
        ],
    )
    return points


def _series(search: SearchEvidence, split: str) -> Floats:
    return search.test if split == "test" else search.validation


def _set_window(
    axes: Axes, evidence: Evidence, marks: dict[str, Mark], searches: list[SearchEvidence], split: str
) -> None:
    qualities = {name: quality for name, (_, quality) in marks.items()}
    central = [qualities[name] for name in competitors(evidence, qualities, evidence.goal)]
    for search in searches:
        best = running_incumbent(oriented(search.validation, evidence.goal))
        central += _series(search, split)[best[best >= 0]][-1:].tolist()
    axes.set_ylim(*window(central or [quality for _, quality in marks.values()], evidence.goal))
    costs = [cost for cost, _ in marks.values()] + [float(end) for search in searches for end in search.ends[[0, -1]]]
    costs = [cost for cost in costs if cost > 0]
    axes.set_xscale("log")
    if costs:
        axes.set_xlim(min(costs) / 1.35, max(costs) * 2)


def _beyond(axes: Axes, values: Floats, goal: str) -> np.ndarray:
    """Which values lie below the window's worse end."""
    worst = axes.get_ylim()[0]
    return values < worst if goal == "max" else values > worst


def _draw_search(axes: Axes, evidence: Evidence, arm: ArmEvidence, search: SearchEvidence, split: str) -> list[Point]:
    colour, ends, values = colour_of(evidence, arm), search.ends, _series(search, split)
    there = np.isfinite(values)
    if not there.any():
        return []
    beyond, worst = there & _beyond(axes, values, evidence.goal), axes.get_ylim()[0]
    inside, large = there & ~beyond, cloud_is_large(len(values))
    style: dict[str, Any] = {"color": colour, "linewidths": 0, "alpha": 0.2 if large else 0.5, "rasterized": large}
    axes.scatter(ends[inside], values[inside], s=6 if large else 14, **style)
    axes.scatter(ends[beyond], np.full(beyond.sum(), worst), s=14, marker="v", clip_on=False, **style)
    best = running_incumbent(oriented(search.validation, evidence.goal))
    # A search whose trials have no test scores has no test curve, save where its incumbent has one.
    known = (best >= 0) & np.isfinite(values[best])
    axes.step(ends[known], values[best[known]], where="post", color=colour, linewidth=1.5)
    unit = evidence.selecting.unit
    return [
        (
            axes,
            float(ends[i]),
            float(worst if beyond[i] else values[i]),
            f"{clean(search.trials[i].key)} · {number(values[i], 3)} {unit} · bill {seconds(float(ends[i]))}",
        )
        for i in np.flatnonzero(there).tolist()
    ]


def _draw_mark(axes: Axes, evidence: Evidence, arm: ArmEvidence, mark: Mark) -> Point:
    cost, quality = mark
    text = f"{clean(arm.name)} · {number(quality, 3)} {evidence.selecting.unit} · {seconds(cost)}"
    worst = axes.get_ylim()[0]
    if _beyond(axes, np.array([quality]), evidence.goal)[0]:
        axes.scatter([cost], [worst], s=24, marker="v", color=colour_of(evidence, arm), clip_on=False, zorder=4)
        return axes, cost, worst, text
    draw_arm(axes, evidence, arm, cost, quality)
    return axes, cost, quality, text


def _draw_front(axes: Axes, evidence: Evidence, marks: dict[str, Mark]) -> None:
    if len(marks) < 2:
        return
    cost, quality = (np.array(column) for column in zip(*marks.values(), strict=True))
    front = pareto_front(cost, oriented(quality, evidence.goal))
    # The front goes on to the right: more money than its last point does not have to buy less.
    costs = np.append(cost[front], axes.get_xlim()[1])
    axes.step(costs, np.append(quality[front], quality[front][-1]), where="post", **FRONT)


def _free_place(axes: Axes, height: float, marks: list[Mark]) -> float:
    """Where along a horizontal line a word disturbs no mark: a share of the axes."""
    to_axes = axes.transData + axes.transAxes.inverted()
    placed = to_axes.transform(np.array([*marks, (axes.get_xlim()[0], height)]))
    level = placed[-1, 1]
    near = placed[:-1][np.abs(placed[:-1, 1] - level) < 0.1, 0]
    return max((0.45, 0.75, 0.2), key=lambda x: min((abs(x - other) for other in near), default=1.0))


def _draw_target(axes: Axes, findings: Findings, split: str, marks: list[Mark]) -> None:
    """The quality that counts as `as good as the candidate`, and the budgets at which the search reached it."""
    found = [f for f in findings.break_evens if f.basis == split]
    candidate = findings.evidence.candidate
    if not found or candidate is None:
        return
    targets = found[0].targets
    for target in targets:
        axes.axhline(target, color=LIGHT["candidate"], linewidth=0.9, linestyle=(0, (1, 2)))
    axes.annotate(
        f"{short(candidate.label)} less the margin ({seeds_text(found[0].seeds)})",
        (_free_place(axes, targets[0], marks), targets[0]),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7,
        color=LIGHT["candidate"],
    )
    reached: dict[float, list[str]] = {}
    for finding in found:
        if finding.result.device_seconds is not None:
            reached.setdefault(finding.result.device_seconds, []).append(percent(finding.result.rho))
    for cost, shares in reached.items():
        one = found[0].num_searches == 1 and not found[0].exchangeable
        axes.axvline(cost, color=LIGHT["ink"], linewidth=0.8, linestyle=(0, (1, 2)))
        axes.annotate(
            f"break-even{' at most' if found[0].at_most else ''}{'' if one else ' ' + ' and '.join(shares)}",
            (cost, 0.03),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 0),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="bottom",
            fontsize=7,
        )


def _legend() -> list[Line2D]:
    ink = LIGHT["muted"]
    return [
        Line2D([], [], marker="o", markersize=4, linewidth=0, color=ink, alpha=0.6, label="trial of a search"),
        Line2D([], [], color=ink, linewidth=1.5, label="incumbent of a search"),
        Line2D([], [], label="Pareto front of the arms", **FRONT),
        Line2D([], [], marker="v", markersize=5, linewidth=0, color=ink, label="below the window"),
    ]


def _alt(findings: Findings) -> str:
    evidence = findings.evidence
    quantity = evidence.selecting
    parts = [f"Scatter plot of {quantity.label} against device-seconds paid."]
    for arm in evidence.arms.values():
        mark = arm_mark(arm, evidence.objective, "test")
        if mark is not None:
            parts.append(f"{clean(arm.name)}: {quantity.format(mark[1], unit=True)} for {seconds(mark[0])}.")
    return " ".join(parts)
