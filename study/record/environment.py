"""What a study ran on: versions, hardware, code. Written down by every driver, printed in the report."""

import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib import import_module, metadata
from pathlib import Path

from trainables.cpus import usable_cpus
from trainables.errors import UserError
from trainables.extensions import extend_path
from trainables.proof import Code, check_code, source_digest
from trainables.task import JSON

PACKAGES = ("cov-study", "torch", "monai", "torchjd", "ray", "optuna", "mlflow", "numpy", "scipy", "nibabel")
OWN_PACKAGES = ("study", "search_spaces", "trainables")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter for the numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware(resources: Mapping[str, float]) -> dict[str, JSON]:
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


def code_in_use() -> Code:
    """This project's code, as this process has imported it.

    Raises:
        UserError: its packages lie in several folders: another checkout hides a part of this one.
    """
    roots = {name: Path(str(import_module(name).__file__)).parent.parent for name in OWN_PACKAGES}
    if len(set(roots.values())) > 1:
        found = ", ".join(f"`{name}` from {root}" for name, root in roots.items())
        raise UserError(
            f"cov-study's packages come from several folders: {found}; start it elsewhere, or mend PYTHONPATH."
        )
    return Code(root=str(roots["study"]), digests={name: source_digest(name) for name in OWN_PACKAGES})


def other_code(code: Code, module_path: Iterable[str], components: Mapping[str, str | None]) -> str | None:
    """On a node: in what its code, user-defined components included, differs from the driver's; None if in nothing."""
    extend_path(module_path)
    try:
        check_code(code, components)
    except UserError as error:
        return str(error)
    return None


def git_revision() -> str | None:
    """Revision of the checkout this package runs from, with `+changes` if it was edited; None outside one."""
    root = Path(__file__).parents[2]
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
