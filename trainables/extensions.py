"""User-defined components: loss terms, weightings, networks and metrics of other packages or of files beside the study.

A component goes by the name of what is built in, by that of an entry point of the group `cov_study.<kind>`, or by
`module:name`. The name is all that travels to other processes: each finds the component again.
"""

import hashlib
import importlib
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from trainables.errors import UserError, did_you_mean

Kind = Literal["terms", "weightings", "networks", "metrics"]

NOUNS: Mapping[Kind, str] = {
    "terms": "loss term",
    "weightings": "weighting",
    "networks": "network",
    "metrics": "metric",
}


def find(kind: Kind, name: Any, builtin: Mapping[str, Any]) -> Any:
    """Finds the component of that name.

    Raises:
        UserError: there is none, two packages offer it, or its module cannot be imported.
    """
    if name in builtin:
        return builtin[name]
    if not isinstance(name, str):
        raise UserError(f"unknown {NOUNS[kind]} {name!r}; there are {', '.join(builtin)}")
    if ":" in name:
        return _attribute(NOUNS[kind], name)
    return _load(kind, _entry_point(kind, name, builtin))


def extend_path(folders: Iterable[str | Path]) -> None:
    """Lets `module:name` be found in these folders, after everything that is installed."""
    sys.path += [folder for folder in map(str, folders) if folder not in sys.path]


def refuse_clashes(kind: Kind, builtin: Iterable[str]) -> None:
    """Raises UserError if an installed package offers a component under the name of a built-in one."""
    for name in builtin:
        for entry in _offered(kind).get(name, ()):
            raise UserError(
                f"{_package(entry)} offers a {NOUNS[kind]} {name!r}, which is the name of a built-in one; rename its "
                f"entry point in the group cov_study.{kind}, or uninstall it"
            )


def origin(kind: Kind, name: str, builtin: Iterable[str]) -> str | None:
    """Where a component comes from, for the record: package and version, or file and digest; None if it is built in."""
    if name in builtin:
        return None
    if ":" not in name:
        return _package(_entry_point(kind, name, {}))
    file = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
    if file is None:
        return "a module without a file"
    return f"{Path(file).name} sha256:{hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]}"


def packages() -> list[str]:
    """The installed packages that offer components, with their versions."""
    return sorted({_package(entry) for kind in NOUNS for offers in _offered(kind).values() for entry in offers})


@cache
def _offered(kind: Kind) -> dict[str, list[EntryPoint]]:
    """Entry points by name. Scanning what is installed takes a while, so it is done once a process."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=f"cov_study.{kind}"):
        found.setdefault(entry.name, []).append(entry)
    return found


def _entry_point(kind: Kind, name: str, builtin: Iterable[str]) -> EntryPoint:
    offers = _offered(kind).get(name, [])
    if not offers:
        raise UserError(f"unknown {NOUNS[kind]} {name!r}{did_you_mean(name, [*builtin, *_offered(kind)])}")
    if len(offers) > 1:
        packages = " and ".join(sorted(_package(entry) for entry in offers))
        raise UserError(f"{packages} both offer a {NOUNS[kind]} {name!r}; write `module:name` to choose one")
    if not re.fullmatch(r"[\w.+-]+", name):
        raise UserError(f"{_package(offers[0])}: the {NOUNS[kind]} {name!r} needs a name of letters, digits, - _ . +")
    return offers[0]


def _load(kind: Kind, entry: EntryPoint) -> Any:
    return _attribute(f"{_package(entry)}: {NOUNS[kind]} {entry.name!r} =", entry.value)


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package"


def _attribute(what: str, address: str) -> Any:
    """What `module:name` stands for; `what` begins the message if there is no such thing."""
    module_name, _, attribute = address.replace(" ", "").partition(":")
    if not re.fullmatch(r"[\w.]+", module_name) or not re.fullmatch(r"[\w.]+", attribute):
        raise UserError(f"{what} {address!r}: write it as module:name, for example my_losses:edges")
    try:
        found = module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise UserError(f"{what} {address!r}: importing it needs {error.name!r}, which is not installed") from error
        raise UserError(
            f"{what} {address!r}: there is no module {module_name!r} that Python can import; install its package, or "
            f"put its file beside the configuration or into a folder of `module_path`"
        ) from error
    except Exception as error:  # whatever somebody else's module raises while it is imported
        raise UserError(f"{what} {address!r}: importing it fails with {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            file = getattr(module, "__file__", None) or module_name
            names = [name for name in vars(found) if not name.startswith("_")]
            raise UserError(f"{what} {address!r}: {file} has no {part!r}{did_you_mean(part, names)}")
        found = getattr(found, part)
    return found
