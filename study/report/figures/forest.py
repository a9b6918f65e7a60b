"""Forest plots: a row for every arm or study, and in it an estimate with its interval."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from study.analysis.inference import Interval
from study.report.figures.style import LIGHT
from study.report.formats import Quantity, short


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Room for the rows, the first at the top, with their names on the left."""
    axes.set_yticks(range(len(labels)), [short(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)


def without_row_lines(axes: Axes) -> None:
    """The rows need no lines to be told apart."""
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def dress_panel(axes: Axes, quantity: Quantity) -> None:
    """A panel of paired differences of a metric: its title, its axis and the line of no difference."""
    axes.axvline(0, color=LIGHT["ink"], linewidth=0.8)
    axes.set_title(quantity.label)
    axes.set_xlabel(quantity.axis)
    without_row_lines(axes)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(4))


def draw_estimate(
    axes: Axes, row: int, value: float, interval: Interval, *, colour: str, marker: str, wide: bool = True
) -> None:
    """An estimate in its row, with its interval where that is known."""
    if interval.low is not None and interval.high is not None:
        axes.plot(
            [interval.low, interval.high],
            [row, row],
            color=colour,
            linewidth=2.2 if wide else 1.3,
            solid_capstyle="butt",  # other caps would draw the interval longer than it is
        )
    axes.plot([value], [row], marker=marker, color=colour, markersize=6 if wide else 5)
