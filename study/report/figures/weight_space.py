"""Where good weights are: every tuned trial in the space of weights, coloured by what it was worth."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from study.analysis.estimators import oriented
from study.report.evidence import ArmEvidence, Evidence, Floats, final_weight
from study.report.figures.style import LIGHT, Drawing, cloud_is_large, finish, new_figure
from study.report.findings.findings import Findings
from study.report.formats import clean, short

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable

COLOURMAP = "viridis"
FLOOR = 1e-4
"""Weights below this are drawn at it: the axes of many terms are logarithmic."""


def draw(findings: Findings) -> Drawing | None:
    """The simplex for three terms, parallel axes for more; None for fewer, or without a validated trial."""
    evidence = findings.evidence
    reference = evidence.reference
    if reference is None or len(evidence.terms) < 3:
        return None
    weights, values, best = _trials(evidence, reference)
    if not len(values):
        return None
    simplex = len(evidence.terms) == 3
    figure = new_figure(6.2, 5.0) if simplex else new_figure(9.6, 3.9)
    axes = figure.subplots()
    draw_in = _draw_simplex if simplex else _draw_parallel
    draw_in(axes, evidence, weights, values, best)
    quantity = evidence.selecting
    bar = figure.colorbar(colour_scale(values, quantity.goal), ax=axes, fraction=0.035, aspect=28, pad=0.02)
    bar.set_label(f"validation {quantity.title}", fontsize=8)
    bar.outline.set_visible(False)
    what = "A point is a trial" if simplex else "A line is a trial"
    candidate = evidence.candidate
    path = "" if candidate is None else f" Blue: where {clean(candidate.label)} went, {_marks(simplex)}"
    return finish(
        figure,
        simulated=evidence.simulated,
        name="weight_space",
        title="Which weights were good",
        caption=(
            f"{what} of {clean(reference.label)}, coloured by its validated {quantity.label}; with diamonds, the "
            f"incumbent.{path}"
        ),
        alt=_alt(evidence, weights, best),
    )


def _marks(simplex: bool) -> str:
    if simplex:
        return "a path a seed; the square is the end."
    return "a line a seed, at the end of its training."


def _trials(evidence: Evidence, reference: ArmEvidence) -> tuple[Floats, Floats, list[int]]:
    """Weights (n, K) and validation values (n,) of the trials that have one, worst first; indices of incumbents."""
    incumbents = {search.incumbent for search in reference.searches}
    rows, values, keys = [], [], []
    for search in reference.searches:
        for trial, value in zip(search.trials, search.validation, strict=True):
            weights = [final_weight(trial, term) for term in evidence.terms]
            if np.isfinite(value) and None not in weights:
                rows.append(weights)
                values.append(float(value))
                keys.append(trial.key)
    order = np.argsort(oriented(np.array(values), evidence.goal), kind="stable") if values else np.array([], int)
    best = [rank for rank, i in enumerate(order) if keys[i] in incumbents]
    return np.array(rows, dtype=float)[order], np.array(values)[order], best


def _paths(evidence: Evidence) -> list[Floats]:
    """The candidate's weights (measurements, K), a path a seed."""
    candidate = evidence.candidate
    trials = [trial for trial in candidate.trials if trial.measurements] if candidate else []
    return [
        np.array([[m.weights.get(term, np.nan) for term in evidence.terms] for m in trial.measurements], dtype=float)
        for trial in trials
    ]


def _shades(values: Floats) -> tuple[float, float]:
    """Range of the colours: the worst fifth shares the darkest, or one bad trial would take the whole scale."""
    low, high = np.quantile(values, 0.2), values.max()
    if low == high:
        return float(values.min()), float(high) + 1e-9
    return float(low), float(high)


# --- three terms: the simplex -------------------------------------------------------------------------------------

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])


def _draw_simplex(axes: Axes, evidence: Evidence, weights: Floats, values: Floats, best: list[int]) -> None:
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.fill(CORNERS[:, 0], CORNERS[:, 1], facecolor="none", edgecolor=LIGHT["muted"], linewidth=0.9)
    for share in (0.25, 0.5, 0.75):
        for corner in range(3):
            ends = np.full((2, 3), 0.0)
            ends[:, corner] = share
            ends[0, (corner + 1) % 3] = ends[1, (corner + 2) % 3] = 1 - share
            axes.plot((ends @ CORNERS)[:, 0], (ends @ CORNERS)[:, 1], color=LIGHT["rule"], linewidth=0.5, zorder=0)
    for i, term in enumerate(evidence.terms):
        below = i < 2
        axes.annotate(
            f"only {short(term)}",
            CORNERS[i],
            xytext=(0, -6 if below else 6),
            textcoords="offset points",
            ha="center",
            va="top" if below else "bottom",
        )
    low, high = _shades(oriented(values, evidence.goal))
    points = weights @ CORNERS
    axes.scatter(
        points[:, 0],
        points[:, 1],
        c=oriented(values, evidence.goal),
        cmap=COLOURMAP,
        vmin=low,
        vmax=high,
        s=16,
        linewidths=0,
        rasterized=cloud_is_large(len(points)),
    )
    axes.scatter(
        points[best, 0],
        points[best, 1],
        s=60,
        marker="D",
        facecolors="none",
        edgecolors=LIGHT["reference"],
        linewidths=1.5,
    )
    for path in _paths(evidence):
        placed = path @ CORNERS
        axes.plot(placed[:, 0], placed[:, 1], color=LIGHT["candidate"], linewidth=1.0)
        axes.scatter(placed[-1:, 0], placed[-1:, 1], s=26, marker="s", color=LIGHT["candidate"], zorder=5)
    centre = np.full((1, 3), 1 / 3) @ CORNERS
    axes.scatter(centre[:, 0], centre[:, 1], s=30, marker="+", color=LIGHT["ink"], linewidths=0.8)
    axes.annotate("equal", (centre[0, 0], centre[0, 1]), xytext=(5, 4), textcoords="offset points", fontsize=7)


# --- more terms: parallel axes ------------------------------------------------------------------------------------


def _draw_parallel(axes: Axes, evidence: Evidence, weights: Floats, values: Floats, best: list[int]) -> None:
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    across = np.arange(len(evidence.terms))
    low, high = _shades(oriented(values, evidence.goal))
    colours = colormaps[COLOURMAP](Normalize(low, high, clip=True)(oriented(values, evidence.goal)))
    lines = np.stack([np.broadcast_to(across, weights.shape), np.maximum(weights, FLOOR)], axis=2)
    large = cloud_is_large(len(lines))
    axes.add_collection(LineCollection(list(lines), colors=colours, linewidths=0.9, alpha=0.75, rasterized=large))
    for i in best:
        axes.plot(
            across,
            np.maximum(weights[i], FLOOR),
            color=LIGHT["reference"],
            linewidth=1.8,
            marker="D",
            markersize=5,
            markeredgecolor=LIGHT["ink"],
            markeredgewidth=0.6,
        )
    for path in _paths(evidence):
        axes.plot(
            across, np.maximum(path[-1], FLOOR), color=LIGHT["candidate"], linewidth=1.4, marker="o", markersize=4
        )
    axes.axhline(1 / len(across), color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (1, 2)))
    axes.annotate(
        "equal",
        (len(across) - 1 + 0.04, 1 / len(across)),
        va="center",
        fontsize=7,
        color=LIGHT["muted"],
        annotation_clip=False,
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(-0.08, len(across) - 1 + 0.25)
    axes.set_xticks(across, [short(term) for term in evidence.terms])
    axes.set_ylabel("weight")
    axes.grid(axis="x", color=LIGHT["muted"], linewidth=0.7)


def colour_scale(values: Floats, goal: str) -> "ScalarMappable":
    """The colour of each value as it is; where smaller is better, the colours run the other way."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    low, high = _shades(oriented(values, goal))
    if goal == "min":
        return ScalarMappable(Normalize(-high, -low), f"{COLOURMAP}_r")
    return ScalarMappable(Normalize(low, high), COLOURMAP)


def _alt(evidence: Evidence, weights: Floats, best: list[int]) -> str:
    if not best:
        return "Weights of the tuned trials."
    parts = [f"{clean(term)} {weight:.2f}" for term, weight in zip(evidence.terms, weights[best[0]], strict=True)]
    return f"Weights of {len(weights)} tuned trials by their validated quality. Incumbent: {', '.join(parts)}."
