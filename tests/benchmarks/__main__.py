"""One table of how fast everything is, against what a good engineer would write from the manuals.

    python -m tests.benchmarks [--quick] [--only step,scoring] [--json runs/bench.json]

Most figures are ratios: the candidates take turns in one run, and the median of the paired ratios is printed, so that
a busy machine slows both alike. `docs/benchmarks.md` explains each row.
"""

import argparse
import importlib
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.table import Row, show, write

PARTS = ("scoring", "step", "data", "start", "sweep", "mirror", "gpu")
"""Modules `bench_<part>`, each with a function `rows(quick)`."""


def measure(parts: list[str], *, quick: bool) -> Iterator[Row]:
    """The rows of some parts, as they are measured."""
    for part in parts:
        began = time.monotonic()
        yield from importlib.import_module(f"tests.benchmarks.bench_{part}").rows(quick)
        print(f"{part}: {time.monotonic() - began:.0f} s", file=sys.stderr)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter trials: under three minutes")
    parser.add_argument("--only", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--json", type=Path, default=Path("runs/bench.json"), help="where the figures go")
    arguments = parser.parse_args()
    parts = arguments.only.split(",") if arguments.only else list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only: no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    random.seed(0)
    rows = []
    try:
        for row in measure(parts, quick=arguments.quick):
            rows.append(row)
            write(arguments.json, rows, arguments.quick)
    finally:
        show(rows)
    print(arguments.json)


if __name__ == "__main__":
    main()
