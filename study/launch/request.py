"""What is to be launched on a cluster, with its defaults."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["job", "slurm", "kuberay"]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What is started, where, and how much of it."""

    name: str
    out: Path
    """The study's folder, on storage that all nodes share."""
    config: Path | None = None
    preset: str | None = None
    cohort: Path | None = None
    overrides: tuple[str, ...] = ()
    nodes: int = 2
    cpus: int = 8
    """CPUs a node."""
    gpus: int = 0
    """GPUs a node."""
    tracking_uri: str | None = None
    """Where MLflow's mirror goes; None leaves that to the cluster."""
    address: str | None = None
    """Kind `job`: of the cluster's dashboard, `http://head:8265`."""
    no_wait: bool = False
    """Kind `job`: do not follow the job's log."""
    time: str = "24:00:00"
    """Kind `slurm`: limit of one allocation; a study that needs more goes on in the next."""
    partition: str | None = None
    """Kind `slurm`."""
    image: str | None = None
    """Kind `kuberay`: with cov-study and Ray inside."""
    claim: str = "studies"
    """Kind `kuberay`: PersistentVolumeClaim, ReadWriteMany."""
    mount: Path = Path("/studies")
    """Kind `kuberay`: where the claim is mounted; `out` lies in it."""
    memory: str = "16Gi"
    """Kind `kuberay`: memory of a pod."""
    retries: int = 3
    """Kind `kuberay`: how often the study is taken up again on a new cluster."""
