"""What a study ran on: versions, hardware, git revision. Written down once, printed in the report."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from trainables.cpus import usable_cpus

PACKAGES = ("cov-study", "torch", "monai", "torchjd", "ray", "optuna", "mlflow", "numpy", "scipy", "nibabel")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter for the numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware(resources: dict[str, float]) -> dict[str, Any]:
    """The driver's machine and what the cluster offers."""
    import psutil

    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    return {
        "cpu": cpu,
        "num_cpus": usable_cpus(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "cluster": {k: v for k, v in sorted(resources.items()) if k in ("CPU", "GPU")},
    }


def git_revision() -> str | None:
    """Revision of the checkout this package runs from, with `+changes` if it was edited; None outside one."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        revision = _git(root, "rev-parse", "--short=12", "HEAD")
        return revision + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
