"""The look of the figures, and how they become SVG and PNG that do not change from build to build."""

import html
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from study.report.evidence import ArmEvidence, Evidence
from study.report.formats import clean, number

# Light and dark values of every colour that is not an image's. On the page each becomes a CSS variable, so that the
# same drawing serves both themes. Pairs are distinguishable under the common colour-vision deficiencies and every
# mark also differs in shape.
COLOURS: Mapping[str, tuple[str, str]] = {
    "paper": ("#fffffe", "#171716"),
    "ink": ("#1d1e20", "#e9e7e2"),
    "muted": ("#66645f", "#a8a59e"),
    "rule": ("#dcd9d2", "#3a3936"),
    "candidate": ("#0a5ea8", "#72b5f0"),
    "reference": ("#c2500c", "#f09a5e"),
    "fixed": ("#716e68", "#8f8c85"),
    "other-1": ("#11806b", "#56c1a7"),
    "other-2": ("#7c4fa5", "#ba99e0"),
    "other-3": ("#9a7412", "#d8b04c"),
    "other-4": ("#b03a6f", "#ec86b1"),
    "band": ("#e9eef4", "#22303d"),
}
LIGHT = {name: pair[0] for name, pair in COLOURS.items()}
MARKERS = {"automatic": "o", "tuned": "D", "fixed": "s"}
FRONT: Any = {"color": LIGHT["muted"], "linewidth": 0.9, "linestyle": (0, (5, 3)), "zorder": 1}
"""The line of a Pareto front."""

RC: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.color": LIGHT["ink"],
    "text.parse_math": False,  # a name with a dollar sign is a name
    "axes.edgecolor": LIGHT["muted"],
    "axes.labelcolor": LIGHT["ink"],
    "axes.labelsize": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.5,
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.labelcolor": LIGHT["ink"],
    "ytick.labelcolor": LIGHT["ink"],
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": LIGHT["paper"],
    "axes.facecolor": "none",
    "savefig.facecolor": LIGHT["paper"],
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's own typeface
    "svg.hashsalt": "cov-study",
    "path.simplify": True,
}
REM_PER_INCH = 6.65
STRIP_INCHES = 0.14
"""Height kept free at the foot of a figure for the words `simulated cohort`."""
MAX_VECTOR_POINTS = 1500
"""Scatter clouds beyond this are drawn as pixels, so that a page of 10,000 trials stays small."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A finished figure."""

    name: str
    """File stem; a constant of this program, never a name from the study."""
    title: str
    caption: str
    alt: str
    """What a reader who cannot see it should know."""
    svg: str
    png: bytes
    points: Sequence[dict[str, Any]] = field(default=())
    """Points to be named on hover: `x`, `y` in the SVG's own units, `text`."""

    @property
    def width_rem(self) -> float:
        """Width on the page, so that the text of every figure has the same size."""
        match = re.search(r'width="([\d.]+)pt"', self.svg)
        assert match is not None
        return round(float(match[1]) / 72 * REM_PER_INCH, 1)

    @property
    def inline(self) -> str:
        """The SVG for the page: themed by CSS variables, ids made unique, described for screen readers."""
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{self.name}-", svg)
        for name, colour in LIGHT.items():
            svg = svg.replace(colour, "none" if name == "paper" else f"var(--{name})")
        size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
        assert size is not None
        label = html.escape(clean(self.alt), quote=True)
        opening = f'<svg viewBox="{size[0][9:-1]}" role="img" aria-label="{label}" xmlns="http://www.w3.org/2000/svg"'
        # Cut and joined, not substituted: a name with a backslash would be read as a pattern's escape.
        return f'{opening} xmlns:xlink="http://www.w3.org/1999/xlink">' + svg[svg.index(">") + 1 :]


@contextmanager
def styled() -> Iterator[None]:
    """matplotlib as this report wants it, and as it was afterwards."""
    with matplotlib.rc_context(RC), warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes in the PNG; the SVG has it as text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_figure(width: float, height: float, *, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """A figure in inches with no global state behind it."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def finish(
    figure: Figure,
    *,
    simulated: bool,
    name: str,
    title: str,
    caption: str,
    alt: str,
    points: Sequence[tuple[Axes, float, float, str]] = (),
) -> Drawing:
    """Renders a figure; one made from a simulated cohort says so in the drawing itself."""
    if simulated:
        strip = STRIP_INCHES / figure.get_figheight()
        engine: Any = figure.get_layout_engine()
        if engine is not None:
            engine.set(rect=(0, strip, 1, 1 - strip))
        figure.text(
            0.998,
            0.004,
            "simulated cohort",
            ha="right",
            va="bottom",
            fontsize=6.5,
            color=LIGHT["muted"],
            style="italic",
        )
        caption += " Simulated cohort."
        alt += " The cohort is simulated."
    if figure.get_layout_engine() is not None:
        # One layout for both files: it is what takes the time.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
    figure.savefig(svg, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    return Drawing(
        name=name,
        title=title,
        caption=caption,
        alt=alt,
        svg=svg.getvalue(),
        png=png.getvalue(),
        points=[_placed(figure, *point) for point in points],
    )


def _placed(figure: Figure, axes: Axes, x: float, y: float, text: str) -> dict[str, Any]:
    """A data point in the units of the SVG's view box: points, from the top."""
    across, up = axes.transData.transform((x, y)) / figure.dpi * 72
    return {"x": round(float(across), 1), "y": round(float(figure.get_figheight() * 72 - up), 1), "text": text}


def competitors(evidence: Evidence, quality: Mapping[str, float], goal: str) -> list[str]:
    """The arms that a figure's window is made for: all but single losses worse than every other arm.

    Args:
        quality: of the arms that have one; `goal` says which way is better.
    """
    central = [name for name in quality if evidence.arms[name].strategy != "single"]
    if not central:
        return list(quality)
    sign = 1 if goal == "max" else -1
    worst = min(sign * quality[name] for name in central)
    return [name for name in quality if name in central or sign * quality[name] > worst]


def colour_of(evidence: Evidence, arm: ArmEvidence) -> str:
    """An arm's colour, the same in every figure."""
    if arm is evidence.candidate:
        return LIGHT["candidate"]
    if arm is evidence.reference:
        return LIGHT["reference"]
    if arm.role == "fixed":
        return LIGHT["fixed"]
    others = [a for a in evidence.arms.values() if a.role != "fixed" and a is not evidence.candidate]
    others = [a for a in others if a is not evidence.reference]
    return LIGHT[f"other-{others.index(arm) % 4 + 1}"]


def is_central(evidence: Evidence, arm: ArmEvidence) -> bool:
    """Whether the study's question is about this arm: the candidate, or the reference."""
    return arm is evidence.candidate or arm is evidence.reference


def draw_arm(axes: Axes, evidence: Evidence, arm: ArmEvidence, x: float, y: float) -> None:
    """An arm's mark, the same in every figure: colour of the arm, shape of its role, large for the two central arms."""
    central = is_central(evidence, arm)
    axes.scatter(
        [x],
        [y],
        s=62 if central else 34,
        marker=MARKERS[arm.role],
        color=colour_of(evidence, arm),
        edgecolors=LIGHT["ink"] if central else "none",
        linewidths=0.6,
        zorder=5,
    )


def cloud_is_large(num_points: int) -> bool:
    """Whether a scatter cloud should be drawn as pixels."""
    return num_points > MAX_VECTOR_POINTS


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks of a logarithmic axis at 1, 2, 5 of a decade, or at decades where there are many; plain numbers."""
    wide = high / low > 300
    axis.set_major_locator(LogLocator(10, subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 0 if value >= 1 else 2)))
    axis.set_minor_formatter(NullFormatter())


def window(values: Sequence[float], goal: str, *, worse: float = 1.4, better: float = 0.35) -> tuple[float, float]:
    """Limits of an axis that shows all `values`, with room on the worse and the better side in units of their range.

    The better end comes last: a metric to be minimised grows downwards, so that up is better in every figure.
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    span = (high - low) or abs(high) * 0.02 or 1.0
    if goal == "max":
        return low - worse * span, high + better * span
    return high + worse * span, low - better * span
