"""The descriptions of MLflow runs: what one looks at, in words and Markdown."""

from collections.abc import Mapping
from typing import Any

from study.record.info import ArmInfo
from study.record.state import StudyState
from study.tracking.views import FILES, TRIALS_TABLE, chart

_ROLES = {
    "fixed": "Weights fixed beforehand: one training a seed, nothing to search.",
    "tuned": "Weights searched over many trials within a budget. The best validated trial, the incumbent, is trained "
    "again under fresh seeds (role `confirmation`), and only that is judged on test subjects.",
    "automatic": "Weights set by the weighting itself while it trains: one training a seed, nothing to search.",
}


def study_note(state: StudyState, summary: Mapping[str, Any] | None) -> str:
    """Description of a study's run; `summary` is the report's `summary.json` once there is one."""
    info, cohort = state.info, state.info.cohort
    key = incumbent_key(state)
    links = [f"[Quality against cost]({chart([key], arms=True)})", f"[Trials, grouped by arm]({TRIALS_TABLE})"]
    if summary:
        links.append(f"[Report]({FILES}/report/index.html)")
    return "\n\n".join(
        [
            f"**{' · '.join(links)}**",  # the UI folds all but the first lines away
            *_verdict(summary),
            f"Are automatically weighted losses as good as hand-tuned ones, and what does each cost? "
            f"Terms: {', '.join(info.terms)}. Models are selected by `{info.objective.key}`"
            + (f", {cohort.num_subjects} subjects" if cohort.num_subjects else "")
            + (", **simulated**." if cohort.simulated else "."),
            f"Quality against cost is `{key}` of every arm. The x axis, the step, is the device-seconds paid so far, "
            "so each curve is what one has in hand after paying that much. It follows one replicate or seed of each "
            "arm; the others are `incumbent_r1/...` and so on. On the trials' runs the x axis is the epoch.",
            *state.notes,
        ]
    )[:8000]


def arm_note(state: StudyState, arm: ArmInfo) -> str:
    """Description of an arm's run."""
    key = incumbent_key(state)
    name, terms = arm.name, state.info.terms
    if arm.strategy == "single":
        terms = (name.removeprefix("single-"),)
    weights = chart([f"incumbent/weight_{term}" for term in terms] or [key], arms=False)
    return "\n\n".join(
        [
            f"**{arm.label}**. {_ROLES.get(arm.role, '')}",
            f"[Quality against cost]({chart([key], arms=False)}) and [the weights]({weights}) of its best trial so "
            "far, the incumbent. The x axis, the step, is the device-seconds paid: by one replicate of a search all "
            "its trials together, crashed and pruned ones included, otherwise by one seed.",
            f"The verdict is in the note of the parent run, `{state.info.name}`.",
        ]
    )


def incumbent_key(state: StudyState) -> str:
    """Metric key of the objective's best value so far."""
    return f"incumbent/{state.objective.key.replace('/', '_')}"


def _verdict(summary: Mapping[str, Any] | None) -> list[str]:
    """The report's own words."""
    if not summary:
        return ["The verdict comes here when the study has finished."]
    words = summary.get("verdict") or {}
    return [str(words[part]) for part in ("headline", "cost", "break_even") if words.get(part)]
