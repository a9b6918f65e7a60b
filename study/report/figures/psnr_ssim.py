"""One metric against another: the abstract found the automatic arm best in PSNR and the hand-tuned one in SSIM."""

import numpy as np

from study.analysis.estimators import oriented, pareto_front
from study.record.ledger import mean_score
from study.report.evidence import Evidence, mean
from study.report.figures.labels import Label, place
from study.report.figures.style import (
    FRONT,
    MARKERS,
    Drawing,
    cloud_is_large,
    colour_of,
    competitors,
    draw_arm,
    finish,
    is_central,
    new_figure,
    window,
)
from study.report.findings.findings import Findings
from study.report.formats import QUANTITIES, clean


def draw(findings: Findings) -> Drawing | None:
    """Every arm's mean PSNR and SSIM on the test subjects, its seeds, and the tuned trials; None without scores."""
    evidence = findings.evidence
    across, up = QUANTITIES["psnr"], QUANTITIES["ssim"]
    marks = _marks(evidence)
    if not marks:
        return None
    figure = new_figure(6.6, 4.6)
    axes = figure.subplots()
    central = [
        marks[name]
        for i in (0, 1)
        for name in competitors(evidence, {name: mark[i] for name, mark in marks.items()}, "max")
    ]
    axes.set_xlim(*window([x for x, _ in central], "max", worse=0.8))
    axes.set_ylim(*window([y for _, y in central], "max", worse=0.8))
    for arm in evidence.of_role("tuned"):
        trials = [t for search in arm.searches for t in search.trials if t.scores is not None]
        points = np.array([[mean_score(t.scores, "mask", m) or np.nan for m in ("psnr", "ssim")] for t in trials])
        if len(points):
            large = cloud_is_large(len(points))
            axes.scatter(
                points[:, 0],
                points[:, 1],
                s=8,
                color=colour_of(evidence, arm),
                alpha=0.35,
                linewidths=0,
                rasterized=large,
            )
    shown = []
    for name, (x, y) in marks.items():
        arm = evidence.arms[name]
        colour = colour_of(evidence, arm)
        seeds = [[mean(arm.scores["mask"][m][i]) for m in ("psnr", "ssim")] for i in range(len(arm.judged))]
        if len(seeds) > 1:
            runs = np.array([[np.nan if v is None else v for v in seed] for seed in seeds])
            axes.scatter(
                runs[:, 0],
                runs[:, 1],
                s=13,
                marker=MARKERS[arm.role],
                facecolors="none",
                edgecolors=colour,
                linewidths=0.8,
            )
        draw_arm(axes, evidence, arm, x, y)
        if x >= axes.get_xlim()[0] and y >= axes.get_ylim()[0]:
            shown.append(Label(x=x, y=y, text=arm.label, colour=colour, bold=is_central(evidence, arm)))
    quality = np.array(list(marks.values()))
    front = pareto_front(-quality[:, 0], quality[:, 1])
    if len(front) > 1:
        axes.plot(quality[front, 0], quality[front, 1], **FRONT)
    place(axes, shown)
    axes.set_xlabel(across.title)
    axes.set_ylabel(up.title)
    hidden = len(marks) - len(shown)
    best = [evidence.arms[list(marks)[i]].label for i in front]
    return finish(
        figure,
        simulated=evidence.simulated,
        name="psnr_ssim",
        title="PSNR against SSIM",
        caption=(
            "Mean over the test subjects, in mask: filled, an arm; open, its seeds; dots, trials of a search. Dashed: "
            "arms that no other arm beats in both."
            + (f" {hidden} of {len(marks)} arms lie below the window." if hidden else "")
        ),
        alt=f"Scatter plot of PSNR and SSIM of every arm. Not beaten in both: {', '.join(map(clean, best))}.",
    )


def _marks(evidence: Evidence) -> dict[str, tuple[float, float]]:
    marks = {}
    for arm in evidence.arms.values():
        x, y = (mean(oriented(arm.per_subject("mask", m), "max")) if arm.judged else None for m in ("psnr", "ssim"))
        if x is not None and y is not None:
            marks[arm.name] = (x, y)
    return marks
