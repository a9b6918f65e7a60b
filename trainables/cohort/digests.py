"""Knows files by their content, for the cache."""

import hashlib
from pathlib import Path

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
