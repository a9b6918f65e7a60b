"""How long a report takes and how much memory: a study of 10,000 trials and 24 test subjects, each trial scored.

Usage: python tests/benchmarks/bench_report.py [--trials 10000]
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))

BUILD = """
import resource, sys, time
from pathlib import Path
started = time.perf_counter()
from study.report.build import build_report
verdict = build_report(Path(sys.argv[1]))
seconds = time.perf_counter() - started
cpu = resource.getrusage(resource.RUSAGE_SELF)
page = verdict.page.stat().st_size / 1e6
cpu_seconds, peak = cpu.ru_utime + cpu.ru_stime, cpu.ru_maxrss / 1e6
print(f"{seconds:.1f} s wall, {cpu_seconds:.1f} s CPU, {peak:.2f} GB peak, page {page:.2f} MB")
"""


def main() -> None:
    """Writes the study, then builds its report in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    from fake_study import FakeStudy

    os.fsync = lambda fd: None  # the writing is not what is measured
    with tempfile.TemporaryDirectory() as folder:
        fake = FakeStudy(
            num_trials=trials // 4,
            replicates=2,
            tuned_arms=(("tuned", "tpe"), ("tuned-random", "random")),
            epochs=4,
        )
        directory = fake.write(Path(folder) / "study")
        size = (directory / "journal.jsonl").stat().st_size / 1e6
        print(f"{trials} trials, journal {size:.0f} MB")
        subprocess.run([sys.executable, "-c", BUILD, str(directory)], check=True)


if __name__ == "__main__":
    main()
