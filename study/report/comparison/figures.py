"""Several studies in one figure: their paired differences, and what a search cost in trainings."""

from collections.abc import Sequence

from study.report.comparison.compared import Compared
from study.report.figures.forest import draw_estimate, dress_panel, name_rows, without_row_lines
from study.report.figures.style import LIGHT, Drawing, finish, log_ticks, new_figure
from study.report.formats import OUTCOMES, QUANTITIES, clean, times


def draw_differences(studies: Sequence[Compared]) -> Drawing | None:
    """Automatic less hand-tuned in every study, with the margin of each; None where no study can say."""
    if not any(study.findings.decisive for study in studies):
        return None
    figure = new_figure(9.6, 1.0 + 0.34 * len(studies))
    panels = figure.subplots(1, len(QUANTITIES), sharey=True, squeeze=False)[0]
    for axes, (metric, quantity) in zip(panels, QUANTITIES.items(), strict=True):
        dress_panel(axes, quantity)
        for row, study in enumerate(studies):
            found = study.findings.decisive.get(metric)
            if found is None:
                continue
            margin, paired = -found.margin.value, found.paired
            axes.plot([margin, margin], [row - 0.3, row + 0.3], color=LIGHT["muted"], linewidth=1.0)
            draw_estimate(axes, row, paired.difference, paired.t, colour=LIGHT["candidate"], marker="o")
    name_rows(panels[0], [study.label for study in studies])
    said = [
        f"{clean(study.label)} {QUANTITIES[metric].label} {OUTCOMES[found.outcome]}"
        for study in studies
        for metric, found in study.findings.decisive.items()
    ]
    return finish(
        figure,
        simulated=_simulated(studies),
        name="study_differences",
        title="Automatic less hand-tuned, study by study",
        caption=(
            "Mean paired difference in mask with its 95 % t interval; right of 0 favours the automatic arm. The "
            "upright stroke is the study’s own margin: an interval to its right is non-inferior."
        ),
        alt=f"Forest plot by study. {', '.join(said)}.",
    )


def draw_costs(studies: Sequence[Compared]) -> Drawing | None:
    """What one search paid over what one automatic training did; None where no study knows."""
    known = [study for study in studies if study.findings.cost_ratio is not None]
    if not known:
        return None
    figure = new_figure(6.6, 1.0 + 0.34 * len(known))
    axes = figure.subplots()
    parts = []
    for row, study in enumerate(known):
        ratio = study.findings.cost_ratio
        assert ratio is not None
        draw_estimate(axes, row, ratio.value, ratio.interval, colour=LIGHT["reference"], marker="D")
        parts.append(f"{clean(study.label)} {times(ratio.value)}")
    axes.axvline(1, color=LIGHT["ink"], linewidth=0.8)
    axes.set_xscale("log")
    log_ticks(axes.xaxis, *axes.get_xlim())
    axes.set_xlabel("cost of a search, in automatic trainings (logarithmic)")
    name_rows(axes, [study.label for study in known])
    without_row_lines(axes)
    return finish(
        figure,
        simulated=_simulated(known),
        name="study_costs",
        title="What a search paid over what a training did",
        caption="Device-seconds of one search over those of one automatic training, with the 95 % interval.",
        alt=f"Cost ratios by study: {', '.join(parts)}.",
    )


def _simulated(studies: Sequence[Compared]) -> bool:
    return any(study.findings.evidence.simulated for study in studies)
