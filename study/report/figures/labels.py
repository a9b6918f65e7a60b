"""Names written beside their marks, moved apart where they would overlap."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from study.report.formats import short

LINE_POINTS = 10.0
"""Height of a line of label text."""
LEFT_FROM = 0.87
"""Marks right of this share of the axes have their label on the left."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A name for the mark at (x, y) in data coordinates."""

    x: float
    y: float
    text: str
    colour: str
    bold: bool = False


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Positions moved apart so that neighbours are at least `gap` from one another, their mean and order kept."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    groups: list[list[int]] = []
    centres: list[float] = []
    for i in order:
        groups.append([i])
        centres.append(positions[i])
        while len(groups) > 1 and centres[-1] - centres[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2:
            members = groups.pop()
            groups[-1] += members
            centres.pop()
            centres[-1] = sum(positions[j] for j in groups[-1]) / len(groups[-1])
    placed = [0.0] * len(positions)
    for members, centre in zip(groups, centres, strict=True):
        for rank, i in enumerate(members):
            placed[i] = centre + gap * (rank - (len(members) - 1) / 2)
    return placed


def place(axes: Axes, labels: Sequence[Label]) -> None:
    """Writes the labels. Call it once the limits and scales of the axes are final."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    axes_points = axes.get_position().height * figure.get_size_inches()[1] * 72
    sides: dict[bool, list[tuple[Label, float]]] = {True: [], False: []}
    for label in labels:
        across, up = axes.transAxes.inverted().transform(axes.transData.transform((label.x, label.y)))
        sides[bool(across > LEFT_FROM)].append((label, float(up)))
    for left, members in sides.items():
        heights = spread([up for _, up in members], LINE_POINTS / axes_points)
        for (label, up), height in zip(members, heights, strict=True):
            axes.annotate(
                short(label.text),
                (label.x, label.y),
                xytext=(-7 if left else 7, (height - up) * axes_points + 5),
                textcoords="offset points",
                ha="right" if left else "left",
                va="center",
                fontsize=8,
                fontweight="bold" if label.bold else "normal",
                color=label.colour,
                annotation_clip=False,
                zorder=6,
            )
