"""How many CPUs this process may use: of a container or a batch job they are fewer than the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def usable_cpus(root: Path = Path("/")) -> int:
    """CPUs that this process is bound to (`taskset`, a cpuset), no more than the quotas of its control groups allow.

    A quota of 1.5 CPUs counts as one: two trials would take each other's time. joblib's `cpu_count` knows quotas, too,
    but only that of the outermost group, and rounds up.

    Args:
        root: of the file system.

    Returns:
        At least 1.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min((_quota(group) for group in _groups(root)), default=math.inf)
    return max(1, math.floor(min(bound, quota)))


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the control groups that hold this process: of version 1 (controller `cpu`) and 2, and those above."""
    mounts = _lines(root / "proc/self/mountinfo")
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for mount in mounts:
            before, _, after = mount.partition(" - ")
            kind, _, options = after.split(" ", 2)
            second = kind == "cgroup2" and not controllers
            first = kind == "cgroup" and "cpu" in controllers.split(",") and "cpu" in options.split(",")
            if first or second:
                top, place = before.split()[3:5]
                # A container may see no more of the tree than its own group.
                inside = PurePosixPath(path).relative_to(top) if PurePosixPath(path).is_relative_to(top) else "."
                folder = root / place.lstrip("/")
                yield from (folder / inside, *(folder / above for above in PurePosixPath(inside).parents))


def _quota(group: Path) -> float:
    """CPUs' worth of time that a control group may use, infinity where it has no limit."""
    period = " ".join(_lines(group / "cpu.cfs_quota_us") + _lines(group / "cpu.cfs_period_us"))
    for words in (text.split() for text in (*_lines(group / "cpu.max"), period)):
        if len(words) == 2 and words[0] not in ("max", "-1"):
            return int(words[0]) / int(words[1])
    return math.inf


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # not Linux, or no such limit
        return []
