"""What was not the same under all the drivers that ran a study."""

from collections.abc import Iterable, Iterator, Mapping

from study.record.state import Driver

HARDWARE = {"cpu": "CPU", "num_cpus": "number of CPUs", "system": "system"}
"""What of a machine moves numbers or seconds, and what a report calls it."""


def changes(drivers: Iterable[Driver]) -> dict[str, list[str]]:
    """Name of a package or of a piece of hardware -> what it was, in order, wherever that is more than one thing.

    Drivers that measured nothing do not count, nor what a journal does not tell of a driver.
    """
    found: dict[str, list[str]] = {}
    for driver in drivers:
        for name, value in _facts(driver) if driver.worked else ():
            values = found.setdefault(name, [])
            if value not in values:
                values.append(value)
    return {name: values for name, values in found.items() if len(values) > 1}


def _facts(driver: Driver) -> Iterator[tuple[str, str]]:
    yield from (driver.versions or {}).items()
    hardware = driver.hardware or {}
    yield from ((label, str(hardware[key])) for key, label in HARDWARE.items() if key in hardware)
    offered = hardware.get("cluster")
    if isinstance(offered, Mapping):
        yield "number of GPUs", f"{offered.get('GPU', 0):g}"
    if driver.git_revision is not None:
        yield "git revision", driver.git_revision
    for package, digest in (driver.code.digests if driver.code else {}).items():
        yield f"source of {package}", digest
