"""The journal: append-only events, one JSON line each. It is the truth of a study; all else is derived from it."""

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from study.record.codec import Plain, from_plain, to_plain
from study.record.events import Event
from study.record.finite import finite
from trainables.errors import UserError, did_you_mean

SCHEMA_VERSION = 1
LOCK_SECONDS = 2.0
"""How long a driver waits for the lock: whoever asks whether a study runs (`is_running`) holds it for a moment."""


class JournalError(UserError):
    """The journal cannot be read or written as it stands."""


@dataclass(frozen=True, kw_only=True)
class Stamped:
    """An event with its place in the journal."""

    number: int
    """From 0."""
    time: float
    """Unix time in seconds: a label, since that clock may be set."""
    clock: float | None = None
    """The study's clock in seconds, which never steps; None in a journal from before there was one."""
    event: Event

    @property
    def seconds(self) -> float:
        """When it happened, in seconds from which durations are computed."""
        return self.time if self.clock is None else self.clock


def encode_line(stamped: Stamped) -> bytes:
    """The line that holds an event, its end included."""
    times = {"time": stamped.time} if stamped.clock is None else {"time": stamped.time, "clock": stamped.clock}
    head = {"v": SCHEMA_VERSION, "n": stamped.number, **times, "event": stamped.event.kind}
    return _encode({**head, **{key: finite(value) for key, value in to_plain(stamped.event).items()}})


def decode_line(line: bytes) -> Stamped | None:
    """The event of a line; None if the line is torn or damaged.

    Raises:
        JournalError: the line is whole, but this program is too old for it.
    """
    try:
        plain = json.loads(line)
        crc = plain.pop("crc")
    except (ValueError, KeyError, AttributeError):
        return None
    if crc != _checksum(plain):
        return None
    if plain["v"] > SCHEMA_VERSION:
        raise JournalError(f"written by a newer cov-study (schema {plain['v']}). Upgrade cov-study.")
    number, time, clock, kind = plain.pop("n"), plain.pop("time"), plain.pop("clock", None), plain.pop("event")
    del plain["v"]
    try:
        event = from_plain(kind, plain)
    except KeyError as error:
        raise JournalError(f"event {number} (`{kind}`) is of another cov-study: {error} is unknown. Upgrade.") from None
    return Stamped(number=number, time=time, clock=clock, event=event)


def _checksum(plain: Plain) -> str:
    return f"{zlib.crc32(json.dumps(plain, sort_keys=True, separators=(',', ':')).encode()):08x}"


def _encode(plain: Plain) -> bytes:
    line = json.dumps(plain | {"crc": _checksum(plain)}, separators=(",", ":"), allow_nan=False)
    return line.encode() + b"\n"


def read_events(path: Path) -> Iterator[Stamped]:
    """Events in order. A torn last line (a crash while writing: it has no end) is left out; damage is an error.

    Raises:
        JournalError: the file is missing, a line is damaged, or its schema is newer than this program.
    """
    try:
        lines = path.open("rb")
    except FileNotFoundError:
        raise JournalError(f"{path}: no journal here{_other_studies(path.parent)}") from None
    with lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                stamped = decode_line(line)
            except JournalError as error:
                raise JournalError(f"{path}: {error}") from None
            if stamped is None:
                raise JournalError(
                    f"{path}, line {number}: damaged (checksum or syntax). Restore the file from a backup, "
                    f"or cut it before that line to go on from there."
                )
            yield stamped


class Journal:
    """Appends events to `journal.jsonl`, flushed and synced; one writer at a time, held by a lock file.

    Args:
        path: the journal's file; its folder is made.
        clock: returns Unix time in seconds: a label, which may step.
        timer: returns seconds that never step; of a computer that sleeps, those in which it was awake.

    Raises:
        JournalError: another process writes this journal, or its folder cannot be written.
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.time, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = path
        self._clock, self._timer = clock, timer
        self._lock = FileLock(path.with_suffix(".lock"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise JournalError(
                f"{path.parent}: another cov-study is running this study. Watch it with "
                f"`cov-study status {path.parent}`, or stop it first."
            ) from None
        except OSError as error:
            raise JournalError(
                f"{path.parent}: cannot be written ({error.strerror}). Choose another folder with --out."
            ) from None
        self._file: BinaryIO | None = None
        self._num_events, self._before = self._cut_torn_line() if path.exists() else (0, 0.0)
        self._opened = timer()

    def seconds(self) -> float:
        """The study's clock: seconds for which its journal has been open, over all drivers. It never steps."""
        return round(self._before + self._timer() - self._opened, 6)

    def _cut_torn_line(self) -> tuple[int, float]:
        """Cuts what a crash left of a last line, so that the next event starts on a line of its own. Returns how many
        events there are, and the study's clock at the last."""
        num_events, clock = 0, 0.0
        for stamped in read_events(self.path):
            num_events, clock = num_events + 1, stamped.seconds
        with self.path.open("r+b") as file:
            size = 0
            for _ in range(num_events):
                size += len(file.readline())
            file.truncate(size)
        return num_events, clock

    def append(self, event: Event) -> Stamped:
        """Writes one event and returns it as it will be read. Raises OSError when the disk does (full, read-only)."""
        time, clock = round(self._clock(), 6), self.seconds()
        line = encode_line(Stamped(number=self._num_events, time=time, clock=clock, event=event))
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)
        start = self._file.tell()
        try:
            self._file.write(line)
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(start)
            raise
        self._num_events += 1
        stamped = decode_line(line)
        assert stamped is not None
        return stamped

    def events(self) -> Iterator[Stamped]:
        """All events so far, in order."""
        return read_events(self.path)

    def close(self) -> None:
        """Closes the file and lets another process write. A study that never began leaves nothing behind."""
        if self._file is not None:
            self._file.close()
        self._lock.release()
        if not self.path.exists():
            with suppress(OSError):
                self.path.with_suffix(".lock").unlink()
                self.path.parent.rmdir()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _other_studies(folder: Path) -> str:
    """The end of a message: studies that lie near a folder that is none."""
    places = (Path(), Path("runs"), folder.parent)
    found = {os.path.relpath(journal.parent) for place in places for journal in place.glob("*/journal.jsonl")}
    if not found:
        return ". Name the folder that `cov-study run --out` wrote."
    return did_you_mean(os.path.relpath(folder), sorted(found))
