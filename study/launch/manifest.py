"""Brings a study onto a cluster: fills in a template and hands it to Ray, SLURM or Kubernetes."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from study.launch.request import Kind, Launch
from trainables.errors import UserError

TEMPLATES = {"job": "job.sh.j2", "slurm": "slurm.sh.j2", "kuberay": "kuberay.yaml.j2"}
CONFIG_FOLDER = "/etc/cov-study"
"""Where the pods of Kubernetes find the configuration."""
EXCLUDED = ["runs", ".venv", ".git", "mlartifacts", "mlflow.db"]
"""What never travels with a Ray job's working directory."""


def fill(kind: Kind, launch: Launch) -> str:
    """The script or manifest that starts a study, as text.

    Raises:
        UserError: an option is missing or does not fit the kind.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "quote": lambda value: shlex.quote(str(value)),
        "tojson_plain": lambda value: json.dumps(value if isinstance(value, dict) else str(value)),
        "toyaml": lambda value: yaml.safe_dump(value).rstrip(),
    }
    return environment.get_template(TEMPLATES[kind]).render(_values(kind, launch))


def _values(kind: Kind, launch: Launch) -> dict[str, Any]:
    config, text = launch.config, None
    variables = {"RAY_USAGE_STATS_ENABLED": "0"}
    if launch.tracking_uri:
        variables["MLFLOW_TRACKING_URI"] = launch.tracking_uri
    runtime_env: dict[str, Any] = {"env_vars": variables}
    if kind == "job":
        runtime_env["excludes"] = EXCLUDED
        config = config and _inside(config)
    if kind == "kuberay":
        if launch.image is None:
            raise UserError("--image: the RayJob needs a container image with cov-study and Ray inside.")
        for option, path in (("--out", launch.out), ("--cohort", launch.cohort)):
            if path is not None and not path.is_relative_to(launch.mount):
                raise UserError(f"{option} {path}: the pods see {launch.mount} only; choose a path in it, or --mount.")
        if config is not None:
            text, config = config.read_text(encoding="utf-8").rstrip(), Path(CONFIG_FOLDER) / "study.yaml"
    return asdict(launch) | {
        "config": text,
        "config_folder": CONFIG_FOLDER,
        "slug": re.sub(r"[^a-z0-9]+", "-", launch.name.lower()).strip("-") or "study",
        "entrypoint": _entrypoint(launch, config),
        "runtime_env": runtime_env,
        "working_dir": Path.cwd(),
        "bin": Path(sys.executable).parent,
        "ray_version": metadata.version("ray"),
    }


def _inside(config: Path) -> Path:
    """A configuration as it is called in the working directory that travels."""
    try:
        return config.absolute().relative_to(Path.cwd())
    except ValueError:
        raise UserError(
            f"{config}: lies outside the working directory, which is what travels; move it there."
        ) from None


def _entrypoint(launch: Launch, config: Path | None) -> str:
    """Starts the study, or goes on with it where it has begun: what a second attempt on a new cluster needs."""
    out = str(launch.out)
    run = ["cov-study", "run", "--address", "auto", "--out", out]
    run += [str(config)] if config is not None else []
    run += ["--preset", launch.preset] if launch.preset else []
    run += ["--cohort", str(launch.cohort)] if launch.cohort else []
    run += [part for override in launch.overrides for part in ("-o", override)]
    journal = shlex.quote(f"{out}/journal.jsonl")
    resume = shlex.join(["cov-study", "resume", out, "--address", "auto"])
    line = f"if [ -e {journal} ]; then exec {resume}; else exec {shlex.join(run)}; fi"
    return shlex.join(["bash", "-c", line])


def start(kind: Kind, text: str) -> int:
    """Hands what `fill` made to the program that starts it; returns its exit status.

    Raises:
        UserError: that program is not on this machine.
    """
    program, command, stdin = {
        "job": ("ray", ["bash", "-c", text], None),
        "slurm": ("sbatch", ["sbatch"], text),
        "kuberay": ("kubectl", ["kubectl", "apply", "-f", "-"], text),
    }[kind]
    if shutil.which(program) is None:
        raise UserError(f"launch {kind}: `{program}` is not on this machine; --dry-run prints what it would be given.")
    return subprocess.run(command, input=stdin, text=True, check=False).returncode
