"""Which code a process trains with, and the proof that it is the code of the process that sent the trial."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, get_args

from trainables.errors import UserError
from trainables.extensions import Kind, find, origin


class OtherCode(UserError):
    """This process has other code than the one that sent it the trial."""


@cache
def source_digest(package: str) -> str:
    """First 12 hex digits of SHA-256 over the names and bytes of a package's Python files, in a folder or a zip file.

    It is computed once a process: what is edited later is not what the process has imported.
    """
    digest = hashlib.sha256()
    for name, file in _sources(files(package), ""):
        digest.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def check_code(digests: Mapping[str, str], parts: Mapping[str, str | None], root: str) -> None:
    """Compares what this process finds with what the driver has.

    Args:
        digests: `source_digest` by package.
        parts: where each part that is not built in comes from, by `<kind>/<name>`.
        root: the folder from which the driver imports its packages, for the message.

    Raises:
        OtherCode: they differ.
        UserError: a part is not found.
    """
    for package, digest in digests.items():
        if source_digest(package) != digest:
            raise OtherCode(
                f"`{package}` is not the driver's: {files(package)} has the digest {source_digest(package)}, "
                f"{root} had {digest}; use one version of cov-study everywhere"
            )
    for part, known in parts.items():
        kind, _, name = part.partition("/")
        found = _origin(next(each for each in get_args(Kind) if each == kind), name)
        if found != known:
            raise OtherCode(f"{part} is not the driver's: it is {found}, and was {known} at the driver")


def _origin(kind: Kind, name: str) -> str | None:
    find(kind, name, {})
    return origin(kind, name, ())


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, Any]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield prefix + entry.name, entry
