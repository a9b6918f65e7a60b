"""Which code a process trains with, and the proof that it is the code of the process that sent the trial."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import get_args

from trainables.errors import UserError
from trainables.extensions import Kind, find, origin


class OtherCode(UserError):
    """This process has other code than the one that sent it the trial."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """The code of a process."""

    root: str
    """The folder (or zip file) from which it imports its packages."""
    digests: Mapping[str, str]
    """`source_digest` by package."""


@cache
def source_digest(package: str) -> str:
    """First 12 hex digits of SHA-256 over the names and bytes of a package's Python files, in a folder or a zip file.

    It is computed once a process: what is edited later is not what the process has imported.
    """
    digest = hashlib.sha256()
    for name, content in _sources(files(package), ""):
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def check_code(code: Code, components: Mapping[str, str | None]) -> None:
    """Compares what this process finds with what the driver has.

    Args:
        code: the driver's.
        components: where each user-defined component comes from at the driver, by `<kind>/<name>`.

    Raises:
        OtherCode: they differ.
        UserError: a component is not found.
    """
    for package, digest in code.digests.items():
        if source_digest(package) != digest:
            raise OtherCode(
                f"`{package}` is not the driver's: {files(package)} has the digest {source_digest(package)}, "
                f"{code.root} had {digest}; use one version of cov-study everywhere"
            )
    for component, known in components.items():
        kind, _, name = component.partition("/")
        found = _origin(next(each for each in get_args(Kind) if each == kind), name)
        if found != known:
            raise OtherCode(f"{component} is not the driver's: it is {found}, and was {known} at the driver")


def _origin(kind: Kind, name: str) -> str | None:
    find(kind, name, {})
    return origin(kind, name, ())


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield prefix + entry.name, entry.read_bytes()
