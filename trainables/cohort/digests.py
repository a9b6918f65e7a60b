"""Knows files by their content: for the cache, and to find one image under two names."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from trainables.cohort.problems import Problem
from trainables.cohort.subjects import Subject
from trainables.errors import UserError

Digests = tuple[str, str, str | None, str | None]


def digest_files(subject: Subject) -> Digests:
    """SHA-256 of the source, target, mask and lesion mask; None where there is no mask.

    Raises:
        UserError: a file cannot be read.
    """
    mask, lesion = (None if path is None else digest_file(path) for path in (subject.mask, subject.lesion))
    return digest_file(subject.source), digest_file(subject.target), mask, lesion


def digest_file(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and permissions") from error


def find_copies(subjects: Sequence[Subject], digests: Sequence[Digests]) -> list[Problem]:
    """Pairs of one image with itself, and images that two subjects share: across splits, a leak."""
    problems = []
    owners: dict[str, tuple[str, Path]] = {}
    for subject, (source, target, *_) in zip(subjects, digests, strict=True):
        if source == target:
            message = f"{subject.target}: is the same image as its source {subject.source}; give another"
            problems.append(Problem(subject=subject.id, message=message))
        for digest, path in {source: subject.source, target: subject.target}.items():
            name, first = owners.setdefault(digest, (subject.id, path))
            if name != subject.id:
                message = f"{path}: is the same image as {first} of {name}; keep it once"
                problems.append(Problem(subject=subject.id, message=message))
    return problems
