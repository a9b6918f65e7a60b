"""How long a virtual cohort takes: wall and CPU seconds of one simulation into a temporary folder.

Usage: python tests/benchmarks/bench_simulate.py [--subjects 80] [--resolution 2] [--workers 2]
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from trainables.cohort.virtual import VirtualCohortConfig, simulate_cohort


def main() -> None:
    """Simulates once and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=80)
    parser.add_argument("--resolution", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    config = VirtualCohortConfig(num_subjects=arguments.subjects, resolution=arguments.resolution)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        simulate_cohort(Path(folder), config, num_workers=arguments.workers)
        wall_seconds = time.perf_counter() - started
        num_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_seconds = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    peak_mib = max(usage.ru_maxrss for usage in usages) / 1024
    print(
        f"{arguments.subjects} subjects at {arguments.resolution} mm, {arguments.workers} workers: "
        f"{wall_seconds:.1f} s wall, {cpu_seconds:.1f} CPU s, largest process {peak_mib:.0f} MiB, "
        f"{num_bytes / 2**20:.0f} MiB on disk; load average {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
