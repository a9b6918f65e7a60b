"""What it looks like: a typical, the best and the worst test subject, all arms in the same window."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from study.analysis.estimators import oriented
from study.report.evidence import ArmEvidence, Evidence
from study.report.figures.style import Drawing, finish, new_figure
from study.report.findings.findings import Findings
from study.report.formats import clean, short

Images = NDArray[np.float32]
LESION = "#ffd23f"
MAX_COLUMNS = 10
PAGE_INCHES, WIDEST_CELL_INCHES, GAP_INCHES, TITLE_INCHES, FOOT_INCHES = 9.6, 1.9, 0.05, 0.2, 0.52


@dataclass(frozen=True, kw_only=True)
class Samples:
    """One slice of every test scan, as kept with the checkpoints."""

    subjects: Sequence[str]
    """Of each scan its subject."""
    reference: Mapping[str, Images]
    """`source`, `target`, `mask`, `lesion`: (scans, H, W)."""
    predictions: Mapping[str, Images]
    """arm -> (scans, H, W), of its first judged run."""


def load_samples(evidence: Evidence, directory: Path) -> Samples | None:
    """Reads the sample slices of the judged runs; None where none were kept or the files cannot be read."""
    folder = directory / "checkpoints"
    reference = _read(folder, folder / "reference.safetensors")
    if reference is None:
        return None
    tensors, scans = reference
    subjects = [evidence.state.info.subject_of(scan) for scan in scans]
    predictions = {}
    for arm in evidence.arms.values():
        for trial in arm.judged:
            slices = _read(folder, folder / trial.key / "slices.safetensors")
            if slices is not None and slices[0]["prediction"].shape == tensors["target"].shape:
                predictions[arm.name] = slices[0]["prediction"].astype(np.float32)
                break
    return Samples(subjects=subjects, reference=tensors, predictions=predictions) if predictions else None


def _read(folder: Path, path: Path) -> tuple[dict[str, Images], list[str]] | None:
    """Tensors and scans of a safetensors file; None for one that is missing, damaged or outside the folder."""
    from safetensors import SafetensorError, safe_open

    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return None
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(metadata.get("subjects", "[]"))  # noqa: SIM118
    except (OSError, SafetensorError, ValueError):
        return None


def chosen_subjects(evidence: Evidence, samples: Samples) -> dict[str, str]:
    """`typical`, `best`, `worst` -> subject, by the candidate's own score in the objective metric.

    Typical is the subject nearest to the median, the earlier one in a tie.
    """
    arm = _ranking_arm(evidence, samples)
    scores = oriented(arm.per_subject("mask", evidence.objective), evidence.goal)
    known = [i for i, s in enumerate(evidence.subjects) if s in samples.subjects and np.isfinite(scores[i])]
    if not known:
        return {}
    values = scores[known]
    picks = {
        "typical": int(np.argmin(np.abs(values - np.median(values)))),
        "best": int(np.argmax(values)),
        "worst": int(np.argmin(values)),
    }
    return {rank: evidence.subjects[known[i]] for rank, i in picks.items()}


def _ranking_arm(evidence: Evidence, samples: Samples) -> ArmEvidence:
    candidate = evidence.candidate
    if candidate is not None and candidate.name in samples.predictions:
        return candidate
    return evidence.arms[next(iter(samples.predictions))]


def draw(findings: Findings, directory: Path) -> list[Drawing]:
    """One figure a chosen subject; none where no slices were kept."""
    evidence = findings.evidence
    samples = load_samples(evidence, directory)
    if samples is None:
        return []
    return [
        _draw_subject(evidence, samples, rank, subject) for rank, subject in chosen_subjects(evidence, samples).items()
    ]


def _draw_subject(evidence: Evidence, samples: Samples, rank: str, subject: str) -> Drawing:
    i = samples.subjects.index(subject)
    target, source = samples.reference["target"][i], samples.reference["source"][i]
    mask = samples.reference["mask"][i].astype(bool)
    lesion = samples.reference.get("lesion")
    box = _box(mask)
    shown = {"source": source} | {name: images[i] for name, images in samples.predictions.items()}
    window = float(np.percentile(target[mask], 99.5)) if mask.any() else 1.0
    errors = {name: np.abs(image - target) * mask for name, image in shown.items()}
    # The scale of the error is set by the arms: the source differs by design and would wash them out.
    arms = np.concatenate([error[mask] for name, error in errors.items() if name != "source"])
    scale = float(np.percentile(arms, 99)) or 1.0
    panels: list[Panel] = [("source", source, errors["source"]), ("target", target, None)]
    panels += [(evidence.arms[name].label, shown[name], errors[name]) for name in samples.predictions]
    figure = _grid(panels, box, window, scale, None if lesion is None else lesion[i].astype(bool))
    quantity = evidence.selecting
    values = []
    for name in samples.predictions:
        score = evidence.arms[name].per_subject("mask", evidence.objective)[list(evidence.subjects).index(subject)]
        values.append(f"{clean(name)} {quantity.format(float(score), unit=True)}")
    outlined = ", lesion outlined in yellow" if lesion is not None and lesion[i].any() else ""
    which = {"typical": "nearest to the median", "best": "the highest", "worst": "the lowest"}[rank]
    if evidence.goal == "min":
        which = {"best": "the lowest", "worst": "the highest"}.get(rank, which)
    ranking = _ranking_arm(evidence, samples)
    first = ", the first of its scans" if samples.subjects.count(subject) > 1 else ""
    return finish(
        figure,
        simulated=evidence.simulated,
        name=f"images_{rank}",
        title=f"{rank.capitalize()} test subject",
        caption=(
            f"Shown is {clean(subject)}{first}: its {quantity.label} of {clean(ranking.name)} is {which} of all test "
            "subjects. "
            f"Above, images in one window{outlined}; below, absolute errors in one scale (that of the arms)."
        ),
        alt=f"Image panels of the {rank} test subject: source, target and syntheses. {'; '.join(values)}.",
    )


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The mask's bounding box with a little air."""
    if not mask.any():
        return slice(None), slice(None)
    sides = []
    for axis in (1, 0):
        there = np.flatnonzero(mask.any(axis=axis))
        sides.append(slice(max(0, int(there[0]) - 2), int(there[-1]) + 3))
    return sides[0], sides[1]


Panel = tuple[str, Images, Images | None]
"""Name, image and its error (None for the target)."""


def _grid(
    panels: Sequence[Panel], box: tuple[slice, slice], window: float, scale: float, lesion: NDArray[np.bool_] | None
) -> Figure:
    """Images above errors; more than fit in one row are wrapped to further pairs of rows.

    Placed by arithmetic: all cells are alike, and a layout engine would take seconds to find that out.
    """
    num_bands = math.ceil(len(panels) / MAX_COLUMNS)
    columns = math.ceil(len(panels) / num_bands)
    height, width = panels[0][1][box].shape
    cell_width = min(PAGE_INCHES / columns, WIDEST_CELL_INCHES)
    cell_height = (cell_width - GAP_INCHES) * height / width
    band_height = TITLE_INCHES + 2 * (cell_height + GAP_INCHES)
    total_width, total_height = columns * cell_width, num_bands * band_height + FOOT_INCHES
    figure = new_figure(total_width, total_height, layout=None)

    def cell(band: int, row: int, column: int) -> Axes:
        top = band * band_height + TITLE_INCHES + row * (cell_height + GAP_INCHES)
        inches = (column * cell_width, total_height - top - cell_height, cell_width - GAP_INCHES, cell_height)
        left, bottom, wide, high = inches
        axes = figure.add_axes(
            (left / total_width, bottom / total_height, wide / total_width, high / total_height), frameon=False
        )
        axes.set_axis_off()
        return axes

    shown_error: Any = None
    for k, (label, image, error) in enumerate(panels):
        band, column = divmod(k, columns)
        top = cell(band, 0, column)
        top.imshow(image[box], cmap="gray", vmin=0, vmax=window, interpolation="none")
        top.set_title(short(label, 18), fontsize=7.5, fontweight="normal", loc="center", pad=3)
        if lesion is not None and lesion[box].any():
            top.contour(lesion[box], levels=[0.5], colors=[LESION], linewidths=0.7)
        if error is not None:
            bottom = cell(band, 1, column)
            shown_error = bottom.imshow(error[box], cmap="magma", vmin=0, vmax=scale, interpolation="none")
    length = min(3.0, 0.8 * total_width)
    place = (
        0.5 - length / 2 / total_width,
        (FOOT_INCHES - 0.13) / total_height,
        length / total_width,
        0.06 / total_height,
    )
    bar = figure.colorbar(shown_error, cax=figure.add_axes(place), orientation="horizontal")
    bar.ax.tick_params(labelsize=6.5, length=2)
    bar.outline.set_visible(False)
    bar.set_label("absolute error", fontsize=7)
    return figure
