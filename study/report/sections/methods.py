"""How the study was done, for whoever wants to check or repeat it."""

from collections.abc import Sequence
from typing import Any

from study.report.evidence import Evidence
from study.report.formats import clean, number
from study.report.sections.section import Section


def _checklist(evidence: Evidence) -> list[tuple[str, str]]:
    """How the study was made, for whoever wants to check or repeat it."""
    info = evidence.state.info
    cohort = info.cohort
    provenance = {k: v for k, v in cohort.provenance.items() if not isinstance(v, dict)}
    seeds = sorted({trial.seed for arm in evidence.arms.values() for trial in arm.judged})
    searched = sorted({trial.seed for trial in evidence.state.trials.values() if trial.role == "search"})
    objective = evidence.selecting.label
    rows = [
        ("Cohort", f"{_size(evidence)}, {'simulated' if evidence.simulated else 'real'}"),
        ("Split", "; ".join([", ".join(f"{name} {size}" for name, size in cohort.splits.items()), "by subject"])),
        ("Selection", f"best {objective} on validation, one rule for all arms; no search sees a test subject"),
        ("Seeds", f"judged under {_listed(seeds)}; searches trained under {_listed(searched)}"),
        ("Terms", ", ".join(evidence.terms)),
        ("Initial losses", ", ".join(f"{k} {v:.3g}" for k, v in (evidence.state.scale or {}).items()) or "–"),
        ("Preparation", _flat(provenance)),
        ("Data range", "1, fixed: both images are scaled by percentiles of the source inside the mask"),
        ("Scores", "PSNR, SSIM (Gaussian, sigma 1.5), RMSE of the volume: inside the mask, whole, inside the lesions"),
        (
            "Statistics",
            f"the subject is the unit; {evidence.averaged} are averaged within a subject; intervals are 95 %",
        ),
        ("Cost", "wall-clock seconds from when a device was taken, times the share held, over all attempts"),
        ("Training", _flat(info.setting("training"))),
        ("Hardware", _flat(info.hardware)),
        ("Versions", _flat(info.versions)),
        ("Git revision", info.git_revision or "–"),
    ]
    return [(name, clean(text)) for name, text in rows]


def _size(evidence: Evidence) -> str:
    cohort = evidence.state.info.cohort
    num_subjects = "–" if cohort.num_subjects is None else cohort.num_subjects
    if cohort.num_scans is None and evidence.num_scans > len(evidence.subjects):
        return f"{num_subjects} scans"  # journals of before counted these as subjects
    more = cohort.num_scans not in (None, cohort.num_subjects)
    return f"{num_subjects} subjects" + (f" ({cohort.num_scans} scans)" if more else "")


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds)) or "none yet"


def _flat(value: Any) -> str:
    """A nested mapping as one readable line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items() if item not in (None, "", {}, [])) or "–"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flat(item) for item in value) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        return number(value, 0)
    return "–" if value is None else str(value)


SECTION = Section(
    name="made",
    title="How it was done",
    template="methods.html",
    values=lambda findings, words: {"checklist": _checklist(findings.evidence)},
)
