"""The descriptions of MLflow runs: what one looks at, in words and Markdown."""

from collections.abc import Mapping
from typing import Any

from study.state import StudyState

ARTIFACTS = "{artifacts}"
"""Stands for the address of the run's own artifacts in the UI, known once the run exists."""

_ROLES = {
    "fixed": "Weights fixed beforehand: one training a seed, nothing to search.",
    "tuned": "Weights searched by hand-set budget: each trial below is one training; the best validated one, the "
    "incumbent, is trained again under fresh seeds (role `confirmation`) and only that is judged on test subjects.",
    "automatic": "Weights chosen by the loss statistics while training: one training a seed, nothing to search.",
}


def study_note(state: StudyState, summary: Mapping[str, Any] | None) -> str:
    """Description of a study's run; `summary` is the report's `summary.json` once there is one."""
    info = state.info
    cohort = info.get("cohort") or {}
    objective = str(info.get("objective", "val/psnr"))
    key = f"incumbent/{objective.replace('/', '_')}"
    paragraphs = [
        f"**{info.get('name', 'study')}**: are automatically weighted losses as good as hand-tuned ones, and what does "
        f"each cost? Terms: {', '.join(info.get('terms') or [])}. Selection by `{objective}`"
        + (f" on {cohort['num_subjects']} subjects" if cohort.get("num_subjects") else "")
        + (", **simulated**." if cohort.get("simulated") else "."),
        *_verdict(summary),
        f"**Quality against cost.** Select the runs with the tag `level = arm` and open the chart `{key}`: its x axis, "
        "the step, is the device-seconds an arm has paid so far, so each curve is what a user would have in hand after "
        "paying that much. Further replicates and seeds of an arm are `incumbent_r1/...` and so on.",
        "**Trials** hang below their arm; group the table by the parameter `arm`. Their x axis is the epoch.",
        *state.notes,
    ]
    return "\n\n".join(paragraphs)[:8000]


def arm_note(state: StudyState, arm: Mapping[str, Any]) -> str:
    """Description of an arm's run."""
    key = f"incumbent/{str(state.info.get('objective', 'val/psnr')).replace('/', '_')}"
    return "\n\n".join(
        [
            f"**{arm.get('label') or arm['name']}**. {_ROLES.get(str(arm.get('role')), '')}",
            f"`{key}` against the step is quality against cost: the step is device-seconds paid by one replicate (or "
            "one seed), all its trials together, crashed and pruned ones included. `incumbent/weight_...` are the "
            "weights of the incumbent trial along the same axis.",
            f"The study's verdict is in the note of the parent run, `{state.info.get('name', 'study')}`.",
        ]
    )


def _verdict(summary: Mapping[str, Any] | None) -> list[str]:
    if not summary:
        return ["The verdict comes here when the study has finished."]
    lines = []
    for metric, found in (summary.get("noninferiority") or {}).items():
        if found:
            lines.append(
                f"- {metric.upper()}: {found.get('verdict')}; difference {_number(found.get('difference'))} "
                f"[{_number(found.get('low'))}, {_number(found.get('high'))}], margin {_number(found.get('margin'))}"
            )
    if ratio := summary.get("cost_ratio"):
        lines.append(
            f"- Cost ratio, tuned to automatic: {_number(ratio.get('value'))} "
            f"[{_number(ratio.get('low'))}, {_number(ratio.get('high'))}]"
        )
    report = f"[The report]({ARTIFACTS}/report/index.html) has the rest."
    return ["**Verdict.**", "\n".join(lines), report] if lines else [report]


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else "n/a"
