"""When each trial held which device, by the study's clock: time while no driver ran is left out."""

import heapq
import textwrap
from collections.abc import Iterator, Sequence

from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch

from study.record.state import Attempt
from study.report.evidence import Evidence
from study.report.figures.style import LIGHT, Drawing, cloud_is_large, colour_of, finish, new_figure
from study.report.findings.findings import Findings
from study.report.formats import count, number, short

MAX_LANES = 24
LEGEND_CHARACTERS = 44
"""Width at which a legend's entry that names many arms goes on in the next line."""
LINE_INCHES = 0.15

Lane = tuple[str, int]
"""Device (node and name) and a place on it, from 0."""


def draw(findings: Findings) -> Drawing | None:
    """A lane a place on a device, a bar an attempt; None before anything ran."""
    evidence = findings.evidence
    attempts = [(arm.name, attempt) for arm in evidence.arms.values() for t in arm.trials for attempt in t.attempts]
    if not attempts:
        return None
    lanes = assign_lanes([attempt for _, attempt in attempts])
    begin = min(attempt.started for _, attempt in attempts)
    end = max(attempt.ended or attempt.started for _, attempt in attempts)
    unit, name = (
        (3600.0, "hours") if end - begin > 7200 else (60.0, "minutes") if end - begin > 120 else (1.0, "seconds")
    )
    names = list(dict.fromkeys(lane for lane, _ in sorted(set(lanes))))
    rows = {lane: row for row, lane in enumerate(sorted(set(lanes)))}
    shown = min(len(rows), MAX_LANES)
    legend = _legend(evidence)
    lines = max(str(patch.get_label()).count("\n") for patch in legend)
    figure = new_figure(9.6, 1.0 + 0.26 * shown + LINE_INCHES * lines)
    axes = figure.subplots()
    large = cloud_is_large(len(attempts))
    for (arm, bad), boxes in _boxes(attempts, lanes, rows, begin, unit).items():
        colour = colour_of(evidence, evidence.arms[arm])
        axes.add_collection(
            PolyCollection(
                boxes,
                facecolors="none" if bad else colour,
                edgecolors=colour if bad else LIGHT["paper"],
                hatch="////" if bad else None,
                linewidths=0.0 if large else 0.5,
                rasterized=large,
            )
        )
    axes.set_ylim(shown - 0.4, -0.6)
    axes.set_yticks(range(shown), [_lane_label(lane, names) for lane in list(rows)[:shown]])
    axes.set_xlim(0, max((end - begin) / unit, 1e-3))
    axes.set_xlabel(f"{name} since the first trial, while the study ran")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    figure.legend(handles=legend, loc="outside lower center", ncols=6)
    attempts_text = count(len(attempts), "attempt")
    makespan = number((end - begin) / unit, 1)
    hidden = f" {len(rows) - MAX_LANES} further lanes are not drawn." if len(rows) > MAX_LANES else ""
    return finish(
        figure,
        simulated=evidence.simulated,
        name="timeline",
        title="When each trial held which device",
        caption=f"{attempts_text} in {makespan} {name} from first to last; hatched: failed or lost.{hidden}",
        alt=f"Timeline of {attempts_text} on {count(len(rows), 'lane')} over {makespan} {name}.",
    )


def _boxes(
    attempts: Sequence[tuple[str, Attempt]], lanes: Sequence[Lane], rows: dict[Lane, int], begin: float, unit: float
) -> dict[tuple[str, bool], list[list[tuple[float, float]]]]:
    """Corners of the bar of every attempt in a lane that is drawn, by arm and whether it was failed or lost."""
    boxes: dict[tuple[str, bool], list[list[tuple[float, float]]]] = {}
    for (arm, attempt), lane in zip(attempts, lanes, strict=True):
        row = rows[lane]
        if row < MAX_LANES:
            left, right = ((time - begin) / unit for time in (attempt.started, attempt.ended or attempt.started))
            low, high = row - 0.36, row + 0.36
            corners = [(left, low), (right, low), (right, high), (left, high)]
            boxes.setdefault((arm, attempt.state in ("failed", "lost")), []).append(corners)
    return boxes


def assign_lanes(attempts: Sequence[Attempt]) -> list[Lane]:
    """The lane of each attempt: those of one device that overlap in time get places of their own, the lowest free."""
    lanes: list[Lane] = [("", 0)] * len(attempts)
    for device, indices in _by_device(attempts):
        busy: list[tuple[float, int]] = []
        free: list[int] = []
        num_places = 0
        for i in sorted(indices, key=lambda i: attempts[i].started):
            while busy and busy[0][0] <= attempts[i].started:
                heapq.heappush(free, heapq.heappop(busy)[1])
            if free:
                place = heapq.heappop(free)
            else:
                place, num_places = num_places, num_places + 1
            heapq.heappush(busy, (attempts[i].ended or attempts[i].started, place))
            lanes[i] = (device, place)
    return lanes


def _by_device(attempts: Sequence[Attempt]) -> Iterator[tuple[str, list[int]]]:
    groups: dict[str, list[int]] = {}
    for i, attempt in enumerate(attempts):
        device = attempt.device
        where = f"{device.node}\0{device.uuid or ''}\0{device.name}" if device else "\0\0"
        groups.setdefault(where, []).append(i)
    yield from sorted(groups.items())


def _lane_label(lane: Lane, devices: list[str]) -> str:
    """`device 1 · 2`: nodes and devices by number, since their names may tell more than one wants to publish."""
    device = devices.index(lane[0]) + 1
    return f"device {device} · {lane[1] + 1}"


def _legend(evidence: Evidence) -> list[Patch]:
    seen: dict[str, list[str]] = {}
    for arm in evidence.arms.values():
        if arm.trials:
            seen.setdefault(colour_of(evidence, arm), []).append(short(arm.label))
    return [Patch(facecolor=colour, label=_named(names, colour)) for colour, names in seen.items()]


def _named(names: Sequence[str], colour: str) -> str:
    """The arms of a colour. Those with fixed weights share one, and so do others once there are more than colours."""
    fixed = colour == LIGHT["fixed"] and len(names) > 1
    return textwrap.fill(f"{'fixed weights: ' if fixed else ''}{', '.join(names)}", LEGEND_CHARACTERS)
