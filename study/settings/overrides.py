"""One key of a configuration set from the command line, `key.path=value`, with a hint where the key is misspelt."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel

from study.settings.yaml_files import NOT_VALID
from trainables.errors import UserError, nearest


def apply_override(values: dict[str, Any], override: str, model: type[BaseModel]) -> None:
    """Sets one key of `values`, which `model` will validate.

    Raises:
        UserError: it is not `key.path=value`, the model has no such key, or the value is no YAML.
    """
    key, equals, text = override.partition("=")
    path = key.split(".")
    if not equals or not all(path):
        raise UserError(f"-o {override}: write it as key.path=value, for example -o training.epochs=20.")
    for depth, part in enumerate(path):
        known = keys_at(model, path[:depth])
        if known and part not in known:
            hint = _meant(path, depth, known, model, text)
            raise UserError(f"-o {override}: unknown key `{'.'.join(path[: depth + 1])}`{hint}")
    node = values
    for parent in path[:-1]:
        if node.get(parent) is None:
            node[parent] = {}
        node = node[parent]
        if not isinstance(node, dict):
            raise UserError(f"-o {override}: `{parent}` is not a group of keys.")
    try:
        node[path[-1]] = yaml.safe_load(text)
    except NOT_VALID:
        raise UserError(f"-o {override}: the value is not valid YAML; a list is -o 'terms=[l1, ssim]'.") from None


def set_by(location: Sequence[str | int], overrides: Sequence[str]) -> str | None:
    """The override, as it was typed, that set what lies at `location`; None if none did."""
    place = [str(part) for part in location]
    for override in reversed(overrides):
        path = override.partition("=")[0].split(".")
        if place[: len(path)] == path:
            return f"-o {override}"
    return None


def keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys that are known at a place of the configuration; none where any may stand."""
    parts = [str(part) for part in path]
    while parts:
        field = model.model_fields.get(parts.pop(0))
        inner = None if field is None else _model_in(field.annotation)
        if field is None or inner is None:
            return []
        model = inner
        if get_origin(field.annotation) is dict:  # its keys are names, of arms for example
            if not parts:
                return []
            parts.pop(0)
    return sorted(model.model_fields)


def _meant(path: Sequence[str], depth: int, known: Sequence[str], model: type[BaseModel], text: str) -> str:
    """The end of a message: what to type, or all the keys there are."""
    near = nearest(path[depth], known)
    keys = [".".join((*path[:depth], near, *path[depth + 1 :]))] if near else []
    keys += [key for key in every_key(model) if key.endswith(f".{path[-1]}")]  # its parents were left out
    return f"; did you mean -o {shlex.quote(f'{keys[0]}={text}')}?" if keys else f"; there are {', '.join(known)}."


def every_key(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All keys that hold a value, as `-o` takes them; not those below names, as of arms."""
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is None:
            yield prefix + name
        elif get_origin(field.annotation) is not dict:
            yield from every_key(inner, f"{prefix}{name}.")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, itself, or None, or by name."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
