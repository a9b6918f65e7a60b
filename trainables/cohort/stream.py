"""Reads a file to its end in pieces, unpacking gzip, so that every checksum is verified."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from trainables.errors import UserError

_CHUNK_BYTES = 1 << 17


@contextmanager
def opened(path: Path) -> Iterator[Iterator[bytes]]:
    """The content of the file in pieces, unpacked where it is gzip (told by its first bytes, not by its name)."""
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is a folder or device, not a NIfTI file; give the file itself")
        with path.open("rb") as file:
            head = file.read(512)
            if not head:
                raise UserError(f"{path}: is empty; copy it again")
            if head.startswith(b"version https://git-lfs"):
                raise UserError(f"{path}: is a Git LFS pointer, not the image; run git lfs pull")
            if b"annex/objects" in head:
                raise UserError(f"{path}: is a git-annex pointer, not the image; run git annex get")
            file.seek(0)
            chunks = iter(partial(file.read, _CHUNK_BYTES), b"")
            yield _unpacked(path, chunks) if head.startswith(b"\x1f\x8b") else chunks
    except FileNotFoundError as error:
        why = "a link to a file that is not here; fetch its content" if path.is_symlink() else "no such file"
        raise UserError(f"{path}: {why}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except zlib.error as error:
        raise UserError(f"{path}: damaged gzip stream ({error}); copy it again") from error


def _unpacked(path: Path, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of one or more gzip members, checksums verified, in pieces of bounded size."""
    stream = None
    for chunk in chunks:
        rest = chunk
        while rest:
            if stream is None:
                # Zeros may pad the end, and more members follow, as the gzip module reads it.
                rest = rest.lstrip(b"\0")
                stream = zlib.decompressobj(wbits=31) if rest else None
                continue
            yield stream.decompress(rest, _CHUNK_BYTES)
            rest = stream.unused_data if stream.eof else stream.unconsumed_tail
            stream = None if stream.eof else stream
    if stream is not None:
        yield stream.flush()
        if not stream.eof:
            raise UserError(f"{path}: truncated: the gzip stream ends too early; copy it again")
