"""The journal: append-only events, one JSON line each. It is the truth of a study; all else is derived from it."""

import fcntl
import json
import math
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from study.state import Attempt, Driver, Search, StudyState, Trial
from trainables.by_subject import by_subject
from trainables.errors import UserError, did_you_mean

SCHEMA_VERSION = 1


class JournalError(UserError):
    """The journal cannot be read or written as it stands."""


def _checksum(event: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(event, sort_keys=True, separators=(',', ':')).encode()):08x}"


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity (the PSNR of equal images): they are written as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _encode(event: dict[str, Any]) -> bytes:
    line = json.dumps(event | {"crc": _checksum(event)}, separators=(",", ":"), allow_nan=False)
    return line.encode() + b"\n"


def decode_line(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None if the line is torn or damaged."""
    try:
        event = json.loads(line)
        crc = event.pop("crc")
    except (ValueError, KeyError, AttributeError):
        return None
    return event if crc == _checksum(event) else None


def read_events(path: Path) -> Iterator[dict[str, Any]]:
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
            event = decode_line(line)
            if event is None:
                raise JournalError(
                    f"{path}, line {number}: damaged (checksum or syntax). Restore the file from a backup, "
                    f"or cut it before that line to go on from there."
                )
            if event["v"] > SCHEMA_VERSION:
                raise JournalError(f"{path}: written by a newer cov-study (schema {event['v']}). Upgrade cov-study.")
            yield event


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
            self._lock.acquire(timeout=0)
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
        self.listeners: list[Callable[[dict[str, Any]], None]] = []

    def seconds(self) -> float:
        """The study's clock: seconds for which its journal has been open, over all drivers. It never steps."""
        return round(self._before + self._timer() - self._opened, 6)

    def _cut_torn_line(self) -> tuple[int, float]:
        """Cuts what a crash left of a last line, so that the next event starts on a line of its own. Returns how many
        events there are, and the study's clock at the last."""
        num_events, clock = 0, 0.0
        for event in read_events(self.path):
            num_events, clock = num_events + 1, _reading(event)
        with self.path.open("r+b") as file:
            size = 0
            for _ in range(num_events):
                size += len(file.readline())
            file.truncate(size)
        return num_events, clock

    def append(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Writes one event and returns it. Raises OSError when the disk does (full, read-only)."""
        times = {"time": round(self._clock(), 6), "clock": self.seconds()}
        head = {"v": SCHEMA_VERSION, "n": self._num_events, **times, "event": kind}
        event = head | _finite(fields)
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)
        start = self._file.tell()
        try:
            self._file.write(_encode(event))
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(start)
            raise
        self._num_events += 1
        for listener in self.listeners:
            listener(event)
        return event

    def events(self) -> Iterator[dict[str, Any]]:
        """All events so far, in order."""
        return read_events(self.path)

    def replay(self) -> StudyState:
        """The state that the events so far add up to."""
        return replay(self.events())

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


def load_state(directory: Path) -> StudyState:
    """Replays the journal of a study's directory, read-only: works while the study runs."""
    return replay(read_events(directory / "journal.jsonl"))


def begun_state(directory: Path) -> StudyState:
    """The same of a study that has begun. Raises UserError if its journal is empty."""
    state = load_state(directory)
    if not state.info:
        raise UserError(f"{directory}: its journal is empty; remove the folder and start again with `cov-study run`.")
    return state


def is_written(directory: Path) -> bool:
    """Whether a process runs the study in this folder right now."""
    try:
        with (directory / "journal.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _other_studies(folder: Path) -> str:
    """The end of a message: studies that lie near a folder that is none."""
    places = (Path(), Path("runs"), folder.parent)
    found = {os.path.relpath(journal.parent) for place in places for journal in place.glob("*/journal.jsonl")}
    if not found:
        return ". Name the folder that `cov-study run --out` wrote."
    return did_you_mean(os.path.relpath(folder), sorted(found))


def replay(events: Iterator[dict[str, Any]]) -> StudyState:
    """Folds events into a `StudyState`."""
    state = StudyState()
    for event in events:
        apply(state, event)
    return state


def _reading(event: dict[str, Any], label: str = "time") -> float:
    """The study's clock at an event; a journal from before there was one has Unix times, under `label` if it can."""
    return event.get("clock", event.get(label, event["time"]))


def apply(state: StudyState, event: dict[str, Any]) -> None:
    """Folds one event into the state."""
    now = _reading(event)
    state.updated, state.clock = event["time"], now
    match event["event"]:
        case "study":
            state.info = {k: v for k, v in event.items() if k not in ("v", "n", "time", "clock", "event")}
            state.started = event["time"]
        case "driver_started":
            state.finished = False
            _close_running(state, "lost")
            state.drivers.append(_driver(state, event))
            state.take_up(event.get("taken_up", {}))
        case "baseline":
            _mark_work(state)
            state.baseline_scans[event["name"]] = event["scores"]
            state.baselines[event["name"]] = by_subject(event["scores"], state.subject_of)
        case "scale":
            state.scale = event["losses"]
        case "trial":
            fields = {
                k: event[k] for k in ("arm", "role", "seed", "replicate", "number", "params", "weighting", "terms")
            }
            state.trials[event["trial"]] = Trial(key=event["trial"], **fields)
        case "attempt_started":
            trial = state.trials[event["trial"]]
            trial.state = "running"
            _mark_work(state)
            started = {"started": _reading(event, "started"), "started_time": event["started"]}
            ended = {"ended": now, "ended_time": event["time"]}
            trial.attempts.append(Attempt(number=event["attempt"], share=event["share"], **started, **ended))
        case "measurement":
            trial = state.trials[event["trial"]]
            # A repeated epoch (after a crash) supersedes what the lost attempt had measured.
            trial.measurements = [m for m in trial.measurements if m["epoch"] < event["epoch"]]
            trial.measurements.append(
                {k: event[k] for k in ("time", "attempt", "epoch", "step", "metrics", "weights", "cost")}
            )
            _measured(trial.attempts[event["attempt"] - 1], event)
        case "attempt_ended":
            trial = state.trials[event["trial"]]
            attempt = trial.attempts[-1]
            attempt.state, attempt.reason = event["state"], event.get("reason")
            attempt.ended, attempt.ended_time = _reading(event, "ended"), event.get("ended", event["time"])
            attempt.cost = event.get("cost") or attempt.cost
            trial.state = "waiting" if event.get("retry") else event["state"]
        case "scores":
            trial = state.trials[event["trial"]]
            trial.scan_scores = event["scores"]
            trial.scores = by_subject(event["scores"], state.subject_of)
        case "search_ended":
            fields = {k: event[k] for k in ("arm", "replicate", "incumbent", "reason")}
            search = Search(**fields, given_up=event.get("given_up", False))
            state.searches[search.arm, search.replicate] = search
        case "heartbeat":
            for trial in state.trials.values():
                if trial.state == "running":
                    trial.attempts[-1].ended, trial.attempts[-1].ended_time = now, event["time"]
        case "note":
            state.notes.append(event["text"])
        case "driver_stopped":
            _close_running(state, "lost")
        case "finished":
            state.finished = True


def _driver(state: StudyState, event: dict[str, Any]) -> Driver:
    """Who began to run the study. Of the first an earlier version told in the event `study`."""
    told = event if state.drivers else state.info | event
    fields: dict[str, Any] = {name: told.get(name) for name in ("versions", "hardware", "git_revision", "code")}
    return Driver(**fields)


def _mark_work(state: StudyState) -> None:
    if state.drivers:  # a rehearsal has none
        state.drivers[-1].worked = True


def _measured(attempt: Attempt, event: dict[str, Any]) -> None:
    """What a measurement tells of its attempt: how long the device has been held, and which device it is."""
    attempt.cost = event["cost"]
    attempt.device, attempt.device_uuid = event["device"]["name"], event["device"]["uuid"]
    attempt.node = event["device"]["node"]
    if attempt.state == "running":
        attempt.ended, attempt.ended_time = _reading(event), event["time"]
        # The worker knows when it took the device; a duration is free of the skew between two machines' clocks.
        held_seconds = event["cost"]["device_seconds"] / attempt.share
        taken = min(attempt.started, attempt.ended - held_seconds)
        attempt.started_time -= attempt.started - taken
        attempt.started = taken


def _close_running(state: StudyState, attempt_state: str) -> None:
    """A driver came or went: what still ran is lost, keeps its cost, and waits to go on."""
    for trial in state.trials.values():
        if trial.state == "running":
            trial.state = "waiting"
            trial.attempts[-1].state = attempt_state
