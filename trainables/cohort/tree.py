"""Walks through the subjects' folders of a BIDS tree, along links, each folder and image once."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from trainables.cohort.problems import Problem
from trainables.errors import UserError

NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
"""The end of an image's name."""


def walk(root: Path, broken: list[Problem]) -> Iterator[Path]:
    """Images named sub-* in the sub-* folders: the tree's own first, then those of its derivatives.

    Args:
        root: the tree.
        broken: gets the links that may stand for a folder and lead nowhere. An image's are among the images.

    Raises:
        UserError: a folder cannot be listed.
    """
    seen = _Seen(root)
    derivatives = root / "derivatives"
    tops = [root, *sorted(derivatives.glob("*"))]
    broken += [_problem("", link) for link in (derivatives, *tops) if _leads_nowhere(link)]
    for top in tops:
        for folder in sorted(top.glob("sub-*")):
            if _leads_nowhere(folder) and not folder.suffix:
                broken.append(_problem(folder.name, folder))
            elif folder.is_dir() and seen.add_folder(folder):
                yield from _below(folder, seen, broken)


def _below(top: Path, seen: "_Seen", broken: list[Problem]) -> Iterator[Path]:
    for where, folders, names in os.walk(top, onerror=_refuse, followlinks=True):
        place, real = Path(where), os.path.realpath(where)
        folders[:] = [name for name in sorted(folders) if seen.add_folder(place / name)]
        for name in sorted(names):
            path = place / name
            if _leads_nowhere(path) and not path.suffix:
                broken.append(_problem(top.name, path))
            elif NIFTI.search(name) and name.startswith("sub-") and seen.add_file(path, real):
                yield path


class _Seen:
    """What was walked through already, by where links lead in the end: so a loop of links ends."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))
        self._folders: set[str] = set()
        self._files: set[tuple[str, str]] = set()

    def add_folder(self, path: Path) -> bool:
        """Whether a folder is new. One that holds the whole tree is not: its subjects are reached from there."""
        real = os.path.realpath(path)
        is_new = real not in self._folders and not self._root.is_relative_to(real)
        self._folders.add(real)
        return is_new

    def add_file(self, path: Path, real_folder: str) -> bool:
        """Whether a file is new under its name: under another it stands for another scan, rightly or not."""
        key = (path.name, os.path.realpath(path) if path.is_symlink() else os.path.join(real_folder, path.name))
        is_new = key not in self._files
        self._files.add(key)
        return is_new


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not os.path.exists(path)


def _problem(subject: str, link: Path) -> Problem:
    message = f"{link}: is a link to {os.readlink(link)}, which is not there; restore it, or remove it"
    return Problem(subject=subject, message=message)


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be listed ({error.strerror}); check its permissions") from error
