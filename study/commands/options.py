"""Options that several commands share, and what a shell completes in them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainables.errors import UserError

if TYPE_CHECKING:
    from study.settings.schema import StudyConfig
    from study.tracking.settings import TrackingSettings


def _presets(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from study.settings.reading import PRESETS

    return [path.stem for path in sorted(PRESETS.glob(f"{incomplete}*.yaml"))]


def _keys(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from study.settings.overrides import every_key
    from study.settings.schema import StudyConfig

    return [f"{key}=" for key in every_key(StudyConfig) if key.startswith(incomplete)]


Out = Annotated[Path | None, typer.Option("--out", help="The study's folder; by default runs/<name>.")]
Override = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--override",
        metavar="KEY.PATH=VALUE",
        help="Set one key of the configuration.",
        autocompletion=_keys,
    ),
]
Address = Annotated[str | None, typer.Option(help="A Ray cluster to use, for example `auto` or `10.0.0.1:6379`.")]
Config = Annotated[Path | None, typer.Argument(metavar="CONFIG.yaml", help="The study's configuration.")]
Preset = Annotated[
    str | None, typer.Option(help="`smoke`, `demo` or `paper`, instead of a file.", autocompletion=_presets)
]
CohortPath = Annotated[Path | None, typer.Option("--cohort", help="A BIDS folder or a CSV manifest.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A study's folder.")]


def read_config(
    config: Path | None, preset: str | None, cohort: Path | None, override: list[str] | None
) -> "StudyConfig":
    """The configuration that a command line asks for."""
    from study.settings.reading import load_config

    if config is not None and preset is not None:
        raise UserError(f"{config} and --preset {preset}: give one of the two.")
    overrides = list(override or ())
    if cohort is not None:
        overrides.append(f"cohort.path={json.dumps(str(cohort.absolute()))}")
    return load_config(config, preset=preset, overrides=overrides)


def read_tracking() -> "TrackingSettings":
    """What `mlflow.yml` and the environment say."""
    from study.tracking.settings import load_settings

    return load_settings()
