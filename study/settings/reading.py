"""A study's configuration, read from a file or a preset and validated once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from study.settings.arms import make_arms
from study.settings.overrides import apply_override, keys_at, set_by
from study.settings.schema import StudyConfig
from study.settings.yaml_files import read_yaml
from trainables.errors import UserError, did_you_mean

PRESETS = Path(__file__).parent / "presets"


def load_config(path: Path | None = None, *, preset: str | None = None, overrides: Sequence[str] = ()) -> StudyConfig:
    """Reads a YAML file or a preset and applies `key.path=value` overrides.

    Raises:
        UserError: one line naming the file and the key.
    """
    source = path if path is not None else _preset_path(preset or "demo")
    values = _read(source)
    for override in overrides:
        apply_override(values, override, StudyConfig)
    config = validate(values, str(path) if path is not None else f"preset {source.stem}", overrides)
    return config.model_copy(update={"module_path": _module_path(config, Path() if path is None else path.parent)})


def _module_path(config: StudyConfig, folder: Path) -> tuple[Path, ...]:
    """Absolute, so that whoever goes on with the study from elsewhere finds the same modules; none if none is asked."""
    if not any(":" in name for names in config.components().values() for name in names):
        return ()
    return tuple(dict.fromkeys((folder / entry).resolve() for entry in config.module_path or (".", Path.cwd())))


def validate(values: Mapping[str, Any], source: str, overrides: Sequence[str] = ()) -> StudyConfig:
    """The configuration that `values` spell; errors name `source`, or the override that set it, and the key."""
    try:
        config = StudyConfig.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise UserError(f"{set_by(problem['loc'], overrides) or source}: {_one_line(problem)}") from None
    make_arms(config)
    return config


def _preset_path(name: str) -> Path:
    path = PRESETS / f"{name}.yaml"
    names = sorted(p.stem for p in PRESETS.glob("*.yaml"))
    if name not in names:
        raise UserError(f"--preset {name}: there is no such preset{did_you_mean(name, names)}")
    return path


def _read(path: Path) -> dict[str, Any]:
    values = read_yaml(path, if_absent="Start from a preset: `cov-study run --preset demo`.")
    if not isinstance(values, dict):
        raise UserError(f"{path}: a study's configuration is a mapping of keys, see `cov-study run --help`.")
    return values


def _one_line(problem: Mapping[str, Any]) -> str:
    """A problem that pydantic found, in one line that names the key and a near miss."""
    location = [part for part in problem["loc"] if part not in ("auto",) and not str(part).startswith("literal[")]
    key = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key `{key}`{did_you_mean(str(location[-1]), keys_at(StudyConfig, location[:-1]))}"
    if problem["type"] == "missing":
        return f"`{key}` is missing; give it a value."
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    got = problem.get("input")
    shown = f" (got {got!r})" if isinstance(got, str | int | float | bool) or got is None else ""
    if key:
        return f"`{key}`: {message[:1].lower() + message[1:]}{shown}."
    return message if message.endswith("?") else f"{message}."
