"""YAML files: what cannot be read is told in one line, and what is written is written whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from trainables.errors import UserError
from trainables.files import write_text
from trainables.task import JSON

NOT_VALID = (yaml.YAMLError, ValueError, RecursionError)
"""What `yaml.safe_load` raises: of dates that do not exist and of endless nesting it raises errors of Python's own."""


def read_yaml(path: Path, *, if_absent: str) -> Any:
    """What a YAML file holds.

    Args:
        path: the file.
        if_absent: what to do where there is no such file; a sentence.

    Raises:
        UserError: it is not there, cannot be read, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. {if_absent}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from None
    except NOT_VALID as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise UserError(f"{path}{line}: not valid YAML ({problem}).") from None


def write_yaml(path: Path, values: Mapping[str, JSON]) -> None:
    """Replaces a YAML file."""
    write_text(path, yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True))
