"""The unit is the subject: scores of scans become scores of their subjects before anything is computed from them."""

from collections.abc import Callable, Mapping, Sequence

Regions = Mapping[str, Mapping[str, float | None]]
"""region -> metric -> value; None where a value is not a finite number."""


def by_subject(scores: Mapping[str, Regions], subject_of: Callable[[str], str]) -> dict[str, Regions]:
    """Scores of each subject: of one scan as they are, of several their mean, over the scans that have the value.

    Args:
        scores: scan -> region -> metric -> value.
        subject_of: names the subject of a scan.
    """
    scans: dict[str, list[Regions]] = {}
    for scan, regions in scores.items():
        scans.setdefault(subject_of(scan), []).append(regions)
    return {subject: found[0] if len(found) == 1 else _mean(found) for subject, found in scans.items()}


def _mean(scans: Sequence[Regions]) -> Regions:
    values: dict[str, dict[str, list[float]]] = {}
    for regions in scans:
        for region, metrics in regions.items():
            for metric, value in metrics.items():
                known = values.setdefault(region, {}).setdefault(metric, [])
                if value is not None:
                    known.append(value)
    return {
        region: {metric: sum(known) / len(known) for metric, known in metrics.items() if known}
        for region, metrics in values.items()
    }
