"""What does quality cost? Every trial, the searches' incumbents, and the automatic arm, against device-seconds paid."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from study.analysis.estimators import oriented, pareto_front, running_incumbent
from study.report.evidence import ArmEvidence, Evidence
from study.report.figures.style import LIGHT, MARKERS, Drawing, cloud_is_large, colour_of, finish, new_figure
from study.report.findings import Findings, mean
from study.report.quantities import QUANTITIES, number, seconds
from study.report.text import clean, short

MAX_HOVER_POINTS = 2000

Point = tuple[Axes, float, float, str]


def draw(findings: Findings) -> Drawing:
    """Two panels with the same axis of cost: the test subjects, and the validation subjects that the search saw."""
    evidence = findings.evidence
    figure = new_figure(9.6, 4.6)
    panels = figure.subplots(1, 2, sharex=True)
    points: list[Point] = []
    for axes, split in zip(panels, ("test", "validation"), strict=True):
        points += _panel(axes, findings, split)
    handles, labels = panels[0].get_legend_handles_labels()
    more = panels[1].get_legend_handles_labels()
    known = dict(zip([*labels, *more[1]], [*handles, *more[0]], strict=True))
    if known:
        figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=min(5, len(known)))
    quantity = QUANTITIES[evidence.objective]
    return finish(
        figure,
        evidence,
        name="cost_quality",
        title="Quality against what was paid for it",
        caption=(
            f"{quantity.label} in mask against device-seconds paid so far (logarithmic). Dots: trials of a search, "
            "each where the search's bill stood when it ended. Steps: the incumbent, the best validated trial so far. "
            "Large marks: arms, at what one training cost (tuned: one search), their confirmed mean. Dashed grey: "
            "Pareto front of the arms. Triangles at the lower edge lie below it."
        ),
        alt=_alt(findings),
        points=points[:MAX_HOVER_POINTS],
    )


def arm_point(arm: ArmEvidence, metric: str, split: str) -> tuple[float, float] | None:
    """What one use of the arm costs (a training, or a whole search) and its mean quality; None if either is unknown."""
    if arm.role == "tuned":
        costs = [float(search.costs.sum()) for search in arm.searches]
    else:
        costs = arm.training_costs().tolist()
    quality = mean(arm.scores["mask"][metric]) if split == "test" else mean(arm.validation[metric])
    if not costs or quality is None or not sum(costs) > 0:
        return None
    return sum(costs) / len(costs), quality


def _panel(axes: Axes, findings: Findings, split: str) -> list[Point]:
    evidence = findings.evidence
    metric, quantity = evidence.objective, QUANTITIES[evidence.objective]
    marks = {arm.name: arm_point(arm, metric, split) for arm in evidence.arms.values()}
    shown = {name: mark for name, mark in marks.items() if mark is not None}
    _set_limits(axes, evidence, shown, split)
    points: list[Point] = []
    for arm in evidence.of_role("tuned"):
        for search in arm.searches:
            points += _draw_search(axes, evidence, arm, search.replicate, split)
    for name, (cost, quality) in shown.items():
        points.append(_draw_arm(axes, evidence, evidence.arms[name], cost, quality))
    _draw_front(axes, evidence, shown)
    _draw_target(axes, findings, split)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 0)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("device-seconds paid")
    axes.set_ylabel(f"{quantity.label} ({quantity.unit})" if quantity.unit else quantity.label)
    axes.set_title("Test subjects" if split == "test" else "Validation subjects (what the search sees)")
    return points


def _set_limits(axes: Axes, evidence: Evidence, marks: dict[str, tuple[float, float]], split: str) -> None:
    """A window on the arms that compete; what is far worse is marked at the edge."""
    goal = evidence.goal
    central = [q for name, (_, q) in marks.items() if evidence.arms[name].role != "fixed" or name == "equal"]
    values = central or [q for _, q in marks.values()]
    for arm in evidence.of_role("tuned"):
        for search in arm.searches:
            series = search.t if split == "test" else search.v
            best = running_incumbent(oriented(search.v, goal))
            values = [*values, *series[best[best >= 0]][-1:]]
    values = [v for v in values if np.isfinite(v)]
    if not values:
        return
    low, high = min(values), max(values)
    span = (high - low) or abs(high) * 0.02 or 1.0
    worse, better = 1.4 * span, 0.35 * span
    axes.set_ylim(*((low - worse, high + better) if goal == "max" else (high + worse, low - better)))


def _edge(axes: Axes, values: np.ndarray, goal: str) -> np.ndarray:
    """Which values fall below the window's worse end."""
    worst = axes.get_ylim()[0]
    return values < worst if goal == "max" else values > worst


def _draw_search(
    axes: Axes, evidence: Evidence, arm: ArmEvidence, replicate: int, split: str
) -> list[Point]:
    search = next(s for s in arm.searches if s.replicate == replicate)
    colour, ends = colour_of(evidence, arm), search.ends
    values = search.t if split == "test" else search.v
    there = np.isfinite(values)
    if not there.any():
        return []
    below = there & _edge(axes, values, evidence.goal)
    inside = there & ~below
    large = cloud_is_large(len(values))
    style = {"color": colour, "linewidths": 0, "alpha": 0.45, "clip_on": False, "rasterized": large}
    axes.scatter(ends[inside], values[inside], s=6 if large else 13, label=f"{short(arm.label)}: trials", **style)
    worst = axes.get_ylim()[0]
    axes.scatter(ends[below], np.full(below.sum(), worst), s=16, marker="v", **style)
    best = running_incumbent(oriented(search.v, evidence.goal))
    steps = best >= 0
    axes.step(
        ends[steps], values[best[steps]], where="post", color=colour, linewidth=1.6,
        label=f"{short(arm.label)}: incumbent",
    )  # fmt: skip
    quantity = QUANTITIES[evidence.objective]
    return [
        (axes, float(ends[i]), float(worst if below[i] else values[i]), _trial_text(search.trials[i].key, values[i], ends[i], quantity.unit))
        for i in np.flatnonzero(there)
    ]  # fmt: skip


def _trial_text(key: str, value: float, end: float, unit: str) -> str:
    return f"{clean(key)} · {number(value, 3)} {unit} · bill {seconds(float(end))}"


def _draw_arm(axes: Axes, evidence: Evidence, arm: ArmEvidence, cost: float, quality: float) -> Point:
    colour = colour_of(evidence, arm)
    text = f"{clean(arm.name)} · {number(quality, 3)} {QUANTITIES[evidence.objective].unit} · {seconds(cost)}"
    worst = axes.get_ylim()[0]
    if _edge(axes, np.array([quality]), evidence.goal)[0]:
        axes.scatter([cost], [worst], s=26, marker="v", color=colour, clip_on=False, zorder=4)
        return axes, cost, worst, text
    central = arm in (evidence.candidate, evidence.reference)
    axes.scatter(
        [cost], [quality], s=64 if central else 34, marker=MARKERS[arm.role], color=colour,
        edgecolors=LIGHT["ink"] if central else "none", linewidths=0.6, zorder=5, label=short(arm.label),
    )  # fmt: skip
    return axes, cost, quality, text


def _draw_front(axes: Axes, evidence: Evidence, marks: dict[str, tuple[float, float]]) -> None:
    if len(marks) < 2:
        return
    cost, quality = (np.array(column) for column in zip(*marks.values(), strict=True))
    front = pareto_front(cost, oriented(quality, evidence.goal))
    if len(front) > 1:
        axes.step(cost[front], quality[front], where="post", color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (4, 3)))


def _draw_target(axes: Axes, findings: Findings, split: str) -> None:
    """The quality that counts as `as good as the candidate`, and the budgets at which the search reached it."""
    found = [f for f in findings.break_evens if f.basis == split]
    candidate = findings.evidence.candidate
    if not found or candidate is None:
        return
    axes.axhline(found[0].target, color=LIGHT["candidate"], linewidth=0.9, linestyle=(0, (1, 2)))
    axes.annotate(
        f"{short(candidate.label)} less the margin", (0.005, found[0].target), xycoords=("axes fraction", "data"),
        xytext=(0, 2), textcoords="offset points", fontsize=7, color=LIGHT["candidate"],
    )  # fmt: skip
    reached = {f.result.device_seconds: f for f in found if f.result.device_seconds is not None}
    for cost, finding in reached.items():
        share = "" if finding.num_searches == 1 and not finding.exchangeable else f" {finding.result.rho:.0%}"
        axes.axvline(cost, color=LIGHT["ink"], linewidth=0.8, linestyle=(0, (1, 2)))
        axes.annotate(
            f"break-even{share}", (cost, 0.02), xycoords=("data", "axes fraction"), xytext=(-3, 0),
            textcoords="offset points", rotation=90, ha="right", va="bottom", fontsize=7,
        )  # fmt: skip


def _alt(findings: Findings) -> str:
    evidence = findings.evidence
    quantity = QUANTITIES[evidence.objective]
    parts = [f"Scatter plot of {quantity.label} against device-seconds paid."]
    for arm in evidence.arms.values():
        point = arm_point(arm, evidence.objective, "test")
        if point is not None:
            parts.append(f"{clean(arm.name)}: {quantity.format(point[1], unit=True)} for {seconds(point[0])}.")
    return " ".join(parts)
