"""A study's folder as its driver holds it, and as everybody else reads it."""

import fcntl
import time
from collections.abc import Callable
from pathlib import Path

from study.record.events import Event
from study.record.folding import apply, replay
from study.record.journal import Journal, Stamped, read_events
from study.record.state import StudyState

JOURNAL, LOCK = "journal.jsonl", "journal.lock"


class Record:
    """The journal of a study, held for writing, and the state folded from it.

    Args:
        directory: the study's folder; made if it is missing.
        clock: returns Unix time in seconds: a label, which may step.
        timer: returns seconds that never step.

    Raises:
        JournalError: another process drives this study, or the folder cannot be written.
    """

    def __init__(
        self, directory: Path, *, clock: Callable[[], float] = time.time, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self.directory = directory
        self._journal = Journal(directory / JOURNAL, clock=clock, timer=timer)
        self.state = replay(self._journal.events()) if self._journal.path.exists() else StudyState()
        """Kept up to date with every event."""
        self._listeners: list[Callable[[Stamped], None]] = []

    def append(self, event: Event) -> None:
        """Writes an event down, folds it, and tells the listeners. Raises OSError when the disk does."""
        stamped = self._journal.append(event)
        apply(self.state, stamped)
        for listener in self._listeners:
            listener(stamped)

    def seconds(self) -> float:
        """The study's clock; see `Journal.seconds`."""
        return self._journal.seconds()

    def subscribe(self, listener: Callable[[Stamped], None]) -> None:
        """`listener` is told of every event from now on."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Lets another process drive the study. A study that never began leaves nothing behind."""
        self._journal.close()

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load_state(directory: Path) -> StudyState:
    """Replays the journal of a study's folder, read-only: works while the study runs.

    Raises:
        JournalError: there is no journal, or it cannot be read.
    """
    return replay(read_events(directory / JOURNAL))


def is_running(directory: Path) -> bool:
    """Whether a process drives the study in this folder right now. Asking hinders nobody."""
    try:
        with (directory / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
