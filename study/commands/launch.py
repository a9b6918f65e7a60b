"""`cov-study launch`: a study on a cluster."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from study.commands.options import CohortPath, Config, Out, Override, Preset, read_config, read_tracking
from study.launch.request import Kind, Launch

_DEFAULT = Launch(name="", out=Path())


def launch(
    kind: Annotated[Kind, typer.Argument(help="What runs the cluster.")],
    config: Config = None,
    preset: Preset = None,
    cohort: CohortPath = None,
    out: Out = None,
    override: Override = None,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes (kuberay: that hold trials).")] = _DEFAULT.nodes,
    cpus: Annotated[int, typer.Option(min=1, help="CPUs a node.")] = _DEFAULT.cpus,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs a node.")] = _DEFAULT.gpus,
    address: Annotated[str | None, typer.Option(help="job: the dashboard, `http://head:8265`.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="job: do not follow its log.")] = False,
    time: Annotated[str, typer.Option(help="slurm: limit of one allocation.")] = _DEFAULT.time,
    partition: Annotated[str | None, typer.Option(help="slurm: partition.")] = None,
    image: Annotated[str | None, typer.Option(help="kuberay: image with cov-study inside.")] = None,
    claim: Annotated[str, typer.Option(help="kuberay: PersistentVolumeClaim that all pods mount.")] = _DEFAULT.claim,
    mount: Annotated[Path, typer.Option(help="kuberay: where it is mounted.")] = _DEFAULT.mount,
    memory: Annotated[str, typer.Option(help="kuberay: memory of a pod.")] = _DEFAULT.memory,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be started.")] = False,
) -> None:
    """Run a study on a cluster: a Ray job, a SLURM allocation or a KubeRay RayJob."""
    from study.launch.manifest import fill, start

    settings = read_config(config, preset, cohort, override)
    folder = out or (mount if kind == "kuberay" else Path("runs")) / settings.name
    tracking = read_tracking()
    uri = tracking.uri if tracking.uri == tracking.masked_uri else None  # a credential is the cluster's to hold
    if kind == "kuberay" and uri and uri.startswith("sqlite:"):
        uri = f"sqlite:///{folder.parent / 'mlflow.db'}"
    text = fill(
        kind,
        Launch(
            name=settings.name,
            out=folder.absolute(),
            config=config if config is None else config.absolute(),
            preset=preset,
            cohort=cohort if cohort is None else cohort.absolute(),
            overrides=tuple(override or ()),
            nodes=nodes,
            cpus=cpus,
            gpus=gpus,
            tracking_uri=uri,
            address=address,
            no_wait=no_wait,
            time=time,
            partition=partition,
            image=image,
            claim=claim,
            mount=mount,
            memory=memory,
        ),
    )
    if dry_run:
        print(text, end="")
    else:
        sys.exit(start(kind, text))
