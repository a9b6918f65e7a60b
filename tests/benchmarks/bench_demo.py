"""The demo as a user runs it: how long, how busy the workers, how much memory, how good.

    python tests/benchmarks/bench_demo.py [DIR of a finished study]

Without a folder it runs the demo first, in an empty one, cohort included.
"""

import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from study.environment import hardware
from study.journal import load_state
from study.state import StudyState


def figures(state: StudyState) -> dict[str, float]:
    """What the journal says of time and memory."""
    attempts = [attempt for trial in state.trials.values() for attempt in trial.attempts]
    first, last = min(a.started for a in attempts), max(a.ended or a.started for a in attempts)
    busy = sum((a.cost["train_seconds"] or 0) + (a.cost["eval_seconds"] or 0) for a in attempts)
    num_workers = state.info["hardware"]["cluster"]["CPU"]
    return {
        "trials_makespan_seconds": round(last - first, 1),
        "efficiency": round(busy / (num_workers * (last - first)), 3),
        "setup_seconds": round(sum(a.cost["setup_seconds"] or 0 for a in attempts), 1),
        "peak_gigabytes_a_worker": round(max(a.cost["peak_bytes"] or 0 for a in attempts) / 1e9, 2),
    }


def main() -> None:
    """Prints JSON."""
    if len(sys.argv) > 1:
        directory, wall_seconds = Path(sys.argv[1]), None
    else:
        folder = Path(tempfile.mkdtemp(prefix="demo-"))
        directory = folder / "runs" / "demo"
        command = [Path(sys.executable).with_name("cov-study"), "run", "--preset", "demo"]
        began = time.monotonic()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        wall_seconds = round(time.monotonic() - began, 1)
    state = load_state(directory)
    summary = json.loads((directory / "report" / "summary.json").read_text(encoding="utf-8"))
    told = {
        "machine": f"{hardware({})['cpu']}, {hardware({})['num_cpus']} cores, {platform.system()}",
        "demo_wall_seconds": wall_seconds,
        **figures(state),
        "psnr_db": {arm: round(values["test"]["psnr"]["mean"], 2) for arm, values in summary["arms"].items()},
        "psnr_db_baselines": {name: round(values["psnr"]["mean"], 2) for name, values in summary["baselines"].items()},
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
