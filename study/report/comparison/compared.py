"""What is compared: several studies that mean the same by the same words, or a reason why they do not."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.record.record import load_state
from study.report.evidence import Evidence, gather
from study.report.findings.findings import Findings, find
from study.report.findings.words import Words, put_into_words
from study.report.tables.table import unique
from trainables.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One study of the comparison."""

    label: str
    directory: Path
    findings: Findings
    words: Words


def compared(directories: Sequence[Path]) -> list[Compared]:
    """Reads the studies, in the order given, each under a label of its own.

    Raises:
        UserError: fewer than two studies, one has no journal, or they are not comparable; says why.
    """
    if len(directories) < 2:
        raise UserError(
            "compare: name two or more study folders, for example `cov-study compare runs/demo runs/other`."
        )
    evidence = [(directory, gather(load_state(directory))) for directory in directories]
    _demand_comparable(evidence)
    labels = unique([str(e.state.info.document.get("name") or directory.name) for directory, e in evidence])
    studies = []
    for label, (directory, gathered) in zip(labels, evidence, strict=True):
        findings = find(gathered)
        studies.append(Compared(label=label, directory=directory, findings=findings, words=put_into_words(findings)))
    return studies


def _demand_comparable(studies: Sequence[tuple[Path, Evidence]]) -> None:
    """Refuses where the same word means different things.

    Raises:
        UserError: names the first study that differs from the first one, in what, and why that matters.
    """
    for what, definition, why in DEFINITIONS:
        first_directory, first = studies[0]
        expected = definition(first)
        for directory, evidence in studies[1:]:
            found = definition(evidence)
            if found != expected:
                raise UserError(
                    f"{directory}: {what} is {_said(found)}, but {_said(expected)} in {first_directory}; {why}."
                )


def _data_range(evidence: Evidence) -> Any:
    info = evidence.state.info
    return info.setting("cohort", "prepare", "percentiles") or info.cohort.provenance.get("percentiles")


def _regions(evidence: Evidence) -> Any:
    """Regions that every judged score has; lesions may be missing in some subjects, and are no condition."""
    return sorted(
        region
        for region in ("mask", "volume")
        if any((arm.scores[region]["psnr"] == arm.scores[region]["psnr"]).any() for arm in evidence.arms.values())
    )


def _terms_of_metrics(evidence: Evidence) -> Any:
    return f"{evidence.objective} ({evidence.goal})"


DEFINITIONS: Sequence[tuple[str, Callable[[Evidence], Any], str]] = (
    ("the metric that selects", _terms_of_metrics, "incumbents and break-even would mean different things"),
    ("the scale of intensities (percentiles)", _data_range, "PSNR, SSIM and RMSE would have different data ranges"),
    ("the set of scored regions", _regions, "a metric in mask is not one over the whole volume"),
)


def _said(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value
