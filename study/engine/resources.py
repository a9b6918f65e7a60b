"""What a trial holds, and how many run at a time."""

import math
from dataclasses import dataclass

from study.settings.schema import ResourcesConfig
from trainables.cpus import usable_cpus
from trainables.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the cluster gives to trials."""

    cpus: float
    """CPUs a trial."""
    gpus: float
    """GPUs a trial; a fraction shares one."""
    workers: int
    """Trials at a time."""
    offered: dict[str, float]
    """What the whole cluster has."""

    @property
    def share(self) -> float:
        """Devices that a trial holds: of GPUs where it has one, else of CPUs."""
        return self.gpus or self.cpus


def check_cpus(wanted: ResourcesConfig, available: float | None = None) -> None:
    """Raises UserError if more CPUs are asked for than there are (by default on this machine)."""
    workers, cpus_per_trial = wanted.workers, wanted.cpus_per_trial
    available = available if available is not None else usable_cpus()
    needed = (workers or 1) * cpus_per_trial
    if needed > available:
        possible = int(available // cpus_per_trial)
        lower = f"resources.workers={possible}" if possible else f"resources.cpus_per_trial={available:g}"
        raise UserError(
            f"resources.{'workers' if workers else 'cpus_per_trial'}: {workers or 1} trial(s) x "
            f"{cpus_per_trial:g} CPU ask for {needed:g} CPUs, but there are {available:g}; use -o {lower}."
        )


def resources_of(wanted: ResourcesConfig, offered: dict[str, float]) -> Resources:
    """What a trial gets of what a cluster offers (`CPU`, `GPU`). Raises UserError if it is less than was asked for."""
    cpus, num_gpus = offered.get("CPU", 0.0), offered.get("GPU", 0.0)
    gpus = float(num_gpus > 0) if wanted.gpus_per_trial == "auto" else float(wanted.gpus_per_trial)
    if gpus > num_gpus:
        raise UserError(
            f"resources.gpus_per_trial: asks for {gpus:g}, but the cluster has {num_gpus:g} GPU(s); "
            f"use -o resources.gpus_per_trial=0 to train on CPUs."
        )
    check_cpus(wanted, cpus)
    by_gpu = math.floor(num_gpus / gpus + 1e-9) if gpus else math.inf
    possible = int(min(cpus // wanted.cpus_per_trial, by_gpu))
    if wanted.workers and wanted.workers > possible:
        raise UserError(
            f"resources.workers: asks for {wanted.workers}, but the cluster holds {possible} at a time; "
            f"use -o resources.workers={possible}."
        )
    return Resources(cpus=wanted.cpus_per_trial, gpus=gpus, workers=wanted.workers or possible, offered=offered)
