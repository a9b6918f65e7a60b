"""Where the weights went: the automatic arm's over its training, the hand-tuned ones of every trial."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.report.evidence import ArmEvidence, Evidence, final_weight
from study.report.figures.style import LIGHT, Drawing, cloud_is_large, colour_of, finish, new_figure
from study.report.findings.findings import Findings
from study.report.formats import clean, short


def draw(findings: Findings) -> Drawing | None:
    """One panel a term: the candidate's weight at every validation, and beside it the weights of all tuned trials.

    None where no automatic arm measured a weight yet.
    """
    evidence = findings.evidence
    candidate, reference = evidence.candidate, evidence.reference
    if candidate is None or not any(trial.measurements for trial in candidate.trials) or not evidence.terms:
        return None
    columns = min(len(evidence.terms), 4)
    rows = math.ceil(len(evidence.terms) / columns)
    figure = new_figure(9.6, 0.5 + 2.5 * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, term in zip(panels.flat, evidence.terms, strict=False):
        _panel(axes, evidence, candidate, reference, term)
    panels[0, 0].set_ylim(0, None)
    for axes in panels.flat[len(evidence.terms) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("weight")
    for axes in panels[-1]:
        axes.set_xlabel("optimiser step")
    _legend(figure, panels.flat[0])
    beside = f" Beside it, the weights of every {clean(reference.name)} trial." if reference else ""
    return finish(
        figure,
        simulated=evidence.simulated,
        name="weights",
        title="Where the weights went",
        caption=(
            f"Weight of each loss term over the training of {clean(candidate.name)}, a line a seed (mean over each "
            f"validation interval).{beside} The dotted line is equal weights; weights sum to 1."
        ),
        alt=_alt(evidence, candidate),
    )


def _panel(axes: Axes, evidence: Evidence, candidate: ArmEvidence, reference: ArmEvidence | None, term: str) -> None:
    last = 1
    for i, trial in enumerate(t for t in candidate.trials if t.measurements):
        steps = [m.step for m in trial.measurements]
        weights = [m.weights.get(term, np.nan) for m in trial.measurements]
        axes.plot(
            steps, weights, color=LIGHT["candidate"], linewidth=1.3, alpha=0.8,
            label=f"{short(candidate.label)}, a line a seed" if i == 0 else None,
        )  # fmt: skip
        last = max(last, *steps)
    axes.axhline(
        1 / len(evidence.terms), color=LIGHT["muted"], linewidth=0.9, linestyle=(0, (1, 2)), label="equal weights"
    )
    for arm in evidence.of_role("automatic"):
        ends = [w for t in arm.trials if (w := final_weight(t, term)) is not None]
        if arm is not candidate and ends:
            axes.scatter(
                [1.06 * last] * len(ends),
                ends,
                s=24,
                marker="<",
                color=colour_of(evidence, arm),
                linewidths=0,
                label=f"{short(arm.label)}, at its end",
            )
    if reference is not None:
        _strip(axes, evidence, reference, term, last)
    axes.set_title(short(term))
    axes.set_xlim(0, last * 1.35)
    axes.set_xticks([0, last // 2, last])


def _strip(axes: Axes, evidence: Evidence, reference: ArmEvidence, term: str, last: int) -> None:
    """Tuned trials in a column right of the trajectories, spread a little so that they do not hide one another."""
    incumbents = {search.incumbent for search in reference.searches}
    trials = [t for t in reference.trials if t.role == "search" and evidence.state.objective.best(t) is not None]
    weights = [w for t in trials if (w := final_weight(t, term)) is not None]
    if not weights:
        return
    spread = np.random.default_rng(0).uniform(1.12, 1.28, len(weights)) * last
    axes.scatter(
        spread, weights, s=9, color=LIGHT["reference"], alpha=0.4, linewidths=0,
        label=f"{short(reference.label)}, a dot a trial", rasterized=cloud_is_large(len(weights)),
    )  # fmt: skip
    best = [w for t in trials if t.key in incumbents and (w := final_weight(t, term)) is not None]
    axes.scatter(
        [1.2 * last] * len(best), best, s=44, marker="D", color=LIGHT["reference"], edgecolors=LIGHT["ink"],
        linewidths=0.6, zorder=5, label=f"{short(reference.label)}, incumbent",
    )  # fmt: skip


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))


def _alt(evidence: Evidence, candidate: ArmEvidence) -> str:
    ends = []
    for term in evidence.terms:
        values = [w for t in candidate.trials if (w := final_weight(t, term)) is not None]
        if values:
            ends.append(f"{clean(term)} {sum(values) / len(values):.2f}")
    return f"Line plots of loss weights over training. {clean(candidate.name)} ends at: {', '.join(ends)}."
