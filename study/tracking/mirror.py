"""The mirror of the journal in MLflow, beside a running study or afterwards.

A thread of its own reads `journal.jsonl` from the disk, folds it into runs and writes what is new, in batches. The
study never waits for it and never fails because of it. How far it came stands in MLflow itself (tag `mirrored`), so a
new database is filled from the start and a known one goes on where it was.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from study.record.journal import Stamped, read_events
from study.record.record import JOURNAL, is_running
from study.tracking.pump import Pump
from study.tracking.runs import Runs
from study.tracking.settings import TrackingSettings
from study.tracking.store import Store, prepare_environment, reason
from trainables.errors import UserError

Say = Callable[[str], None]
_log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
START_SECONDS = 10.0
"""Importing MLflow takes seconds of CPU: not while Ray starts, nor while the main thread imports."""
WAIT_SECONDS = (1.0, 60.0)
"""First and longest wait for a server that does not answer."""


class Mirror:
    """Mirrors a study while it runs. Let a `Record` tell it of events; it never raises.

    Args:
        settings: from `load_settings`.
        directory: of the study; its journal may not exist yet.
        say: takes one line for the user.
        start_seconds: how long the thread sleeps first; `close` ends the sleep.
    """

    def __init__(
        self,
        settings: TrackingSettings,
        directory: Path,
        *,
        say: Say = _log.warning,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._settings, self._directory, self._say = settings, directory, say
        self._start_seconds = start_seconds
        self._news, self._closing = threading.Event(), threading.Event()
        self._warned = self._behind = False
        self._lock = FileLock(directory / "mlflow.lock", thread_local=False)
        self._thread = threading.Thread(target=self._run, name="mlflow-mirror", daemon=True)
        if settings.mirror != "none":
            prepare_environment()
            self._thread.start()

    def __call__(self, stamped: Stamped) -> None:
        """Hears of an event. The thread reads it from the disk, so there is no queue that could grow or be lost."""
        self._news.set()

    def close(self, timeout: float = 60.0) -> None:
        """Writes the rest, at most `timeout` seconds long. Call it when the report is there: it is attached."""
        self._closing.set()
        self._news.set()
        if self._thread.ident is None:
            return
        self._thread.join(timeout)
        if self._behind or self._thread.is_alive():
            self._tell(f"MLflow is behind; `cov-study sync {self._directory}` replays the rest.")

    def _tell(self, line: str) -> None:
        with suppress(Exception):
            self._say(line)

    def _run(self) -> None:
        self._closing.wait(self._start_seconds)
        pump = _make_pump(self._settings, self._directory, resume=True)
        wait, longest_wait = WAIT_SECONDS
        with suppress(Exception):
            while True:
                last = self._closing.is_set()
                self._news.clear()
                self._behind = not self._try(pump, last)
                if last:
                    break
                if self._behind:
                    self._closing.wait(wait)
                    wait = min(2 * wait, longest_wait)
                else:
                    wait = WAIT_SECONDS[0]
                    self._closing.wait(FLUSH_SECONDS)
                    self._news.wait()
        for problem in pump.problems:
            self._tell(f"MLflow: {problem}")
        self._lock.release()

    def _try(self, pump: Pump, last: bool) -> bool:
        """Writes what there is; says so the first time that it cannot."""
        try:
            if not self._lock.is_locked:
                self._lock.acquire(timeout=0)
            pump.catch_up()
            if last:
                pump.finish()
        except Exception as error:
            if not self._warned:
                self._warned = True
                self._tell(f"{reason(self._settings, error)} The study goes on, and MLflow catches up by itself.")
            return False
        return True


def sync(directory: Path, settings: TrackingSettings) -> dict[str, int]:
    """Replays the whole journal of a study into MLflow; a second time it changes nothing.

    Runs that are open in MLflow although nothing runs are closed as KILLED.

    Returns:
        `runs` of the study in MLflow, `created` of them by this call, `points` and `files` sent.

    Raises:
        UserError: no journal, a running study mirrors itself already, or MLflow does not take it.
    """
    next(read_events(directory / JOURNAL), None)  # says what is wrong with the journal
    if settings.mirror == "none":
        raise UserError("`tracking.mirror` is none: there is nothing to mirror. Set it to epochs in mlflow.yml.")
    prepare_environment()
    try:
        with FileLock(directory / "mlflow.lock", timeout=0):
            pump = _make_pump(settings, directory, resume=False)
            pump.catch_up()
            if not is_running(directory):
                pump.runs.close_open()
            pump.finish()
    except Timeout:
        raise UserError(f"{directory}: a running study mirrors itself already; sync it when it is over.") from None
    except Exception as error:
        raise UserError(f"{reason(settings, error)} Nothing is lost: sync again when it can.") from error
    if pump.problems:
        raise UserError(f"MLflow: {'; '.join(pump.problems)}")
    return pump.counts


def _make_pump(settings: TrackingSettings, directory: Path, *, resume: bool) -> Pump:
    runs = Runs(settings)
    return Pump(runs, directory, lambda: Store(settings, directory, runs.layout), resume=resume)
