"""From the journal on the disk to runs, a bounded number of events at a time."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Protocol

from study.record.journal import Stamped, decode_line
from study.tracking.run import Run
from study.tracking.runs import Runs

NUM_EVENTS = 2000
"""Events read at a time: bounds the memory, and fills MLflow's batches."""


class Destination(Protocol):
    """What holds the runs of one study."""

    counts: dict[str, int]
    problems: dict[str, str]

    @property
    def num_runs(self) -> int:
        """Runs of the study that it holds."""

    def connect(self, study_key: str, objective: str) -> int:
        """Finds what it holds; returns how many events of the journal that covers."""

    def status(self, run: Run) -> str | None:
        """Status that it shows for a run; None if it has no such run."""

    def ensure(self, run: Run, runs: Mapping[str, Run]) -> None:
        """Makes the run and its parents, unless they are there."""

    def write(self, run: Run) -> None:
        """Writes what is new of a run, and takes it off the run."""

    def attach(self, run: Run) -> None:
        """Uploads the run's files that exist by now, and takes them off the run."""


class Pump:
    """Reads events and has their runs written. After an error of the store, `catch_up` again goes on.

    Args:
        runs: new, nothing folded yet.
        directory: of the study; its journal may not exist yet.
        make_store: connects; called when the journal has told which study it is.
        resume: go on where the store says that a mirror came to; otherwise write everything.
    """

    def __init__(self, runs: Runs, directory: Path, make_store: Callable[[], Destination], *, resume: bool) -> None:
        self.runs = runs
        self._directory, self._make_store, self._resume = directory, make_store, resume
        self._path = directory / "journal.jsonl"
        self._store: Destination | None = None
        self._offset = self._num_events = self._num_mirrored = 0

    @property
    def problems(self) -> list[str]:
        """What could not be written and will not be, a line each."""
        return list(self._store.problems.values()) if self._store else []

    @property
    def counts(self) -> dict[str, int]:
        """`runs` of the study in MLflow, `created` of them from here, `points` and `files` sent."""
        return dict(self._store.counts, runs=self._store.num_runs) if self._store else {}

    def catch_up(self) -> None:
        """Writes all events that the disk has."""
        self._flush()
        while self._read():
            self._flush()

    def finish(self) -> None:
        """Attaches the report, if there is one, and writes what is left."""
        path = self._directory / "report" / "summary.json"
        summary = None
        with suppress(OSError, ValueError):
            summary = json.loads(path.read_text(encoding="utf-8"))
        self.runs.attach(summary)
        self._flush()

    def _read(self) -> bool:
        """Folds the next events; False if there are none."""
        before = self._num_events
        limit = NUM_EVENTS if self._store else 1  # the first event names the study
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._offset)
            for line in islice(file, limit):
                stamped = decode_line(line) if line.endswith(b"\n") else None
                if stamped is None:  # still being written
                    break
                self._take(stamped)
                self._offset += len(line)
        return self._num_events > before

    def _take(self, stamped: Stamped) -> None:
        self.runs.fold(stamped)
        self._num_events += 1
        if self._num_events <= self._num_mirrored:
            self.runs.forget()
        if self._num_events == self._num_mirrored and self._store:
            for run in self.runs.runs.values():
                if self._store.status(run) not in (run.status, None):
                    self.runs.dirty[run.key] = run

    def _flush(self) -> None:
        study = self.runs.runs.get(self.runs.study_key)
        if study is None:
            return
        if self._store is None:
            store = self._make_store()
            mirrored = store.connect(study.key, self.runs.state.objective.key)
            self._store, self._num_mirrored = store, mirrored if self._resume else 0
            if self._num_events <= self._num_mirrored:
                self.runs.forget()
        if not self.runs.dirty:
            return
        for run in list(self.runs.dirty.values()):
            self._store.ensure(run, self.runs.runs)
        for run in list(self.runs.dirty.values()):
            self._store.write(run)
        for run in list(self.runs.dirty.values()):
            self._store.attach(run)
            if not run.files:
                del self.runs.dirty[run.key]
        if self._num_events > self._num_mirrored:
            study.tags["mirrored"] = str(self._num_events)
            self._store.write(study)
            self._num_mirrored = self._num_events
