"""Files that are replaced in one step: who reads one sees it whole, as it was or as it is now."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to. After the block, what was written there takes the place of `path`.

    Where the block raises, `path` stays as it was and nothing is left beside it. Every writer gets a hidden name of
    its own, so that two at once do not mix; it ends as `path` does, since libraries choose a format by that.
    """
    beside = path.with_name(f".{uuid.uuid4().hex}-{path.name}")
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        if error.filename == str(beside):
            error.filename = str(path)  # the name that the user knows
        raise
    finally:
        with suppress(OSError):
            beside.unlink()


def write_text(path: Path, text: str) -> None:
    """Replaces a text file, in UTF-8."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")
