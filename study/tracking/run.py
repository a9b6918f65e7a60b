"""One MLflow run as a value: what it should be, and what of that is still to be written."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from study.tracking.settings import scrub

NOTE_TAG, COUNT_TAG = "mlflow.note.content", "num_points"
MLFLOW_STATUS = {
    "complete": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "lost": "KILLED",
    "running": "RUNNING",
}
"""State of a trial, arm or study -> status of its MLflow run."""


class Point(NamedTuple):
    """One value of a metric."""

    key: str
    value: float
    timestamp: int
    """Of the event, in ms: a replay repeats it, and MLflow keeps exact repeats once."""
    step: int
    """Epoch on a trial's run, cumulative device-seconds on an arm's."""


@dataclass(kw_only=True)
class Run:
    """One MLflow run: what it should be, and what of that is still to be written."""

    key: str
    """`study`, `study/arm` or `study/arm/trial`; by this tag the run is found again."""
    name: str
    level: str
    """`study`, `arm` or `trial`."""
    parent: str | None
    started: int
    """Unix time in ms, as is `ended`."""
    state: str = "running"
    ended: int | None = None
    concluded: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    num_points: int = 0
    """All points so far, the written and forgotten ones included. Their order is that of the journal."""
    files: dict[str, str] = field(default_factory=dict)
    """File in the study's directory -> folder among the run's artifacts."""

    @property
    def status(self) -> str:
        """MLflow's word for the state."""
        return MLFLOW_STATUS[self.state]

    def set(self, state: str, ended: int | None = None) -> None:
        """Opens (`running`) or ends the run."""
        self.state, self.ended = state, ended
        self.tags["state"] = state
        if state != "running":  # written after the points, so it tells a later replay what it can leave out
            self.tags[COUNT_TAG] = str(self.num_points)

    def log(self, values: Mapping[str, float | None], timestamp: int, step: int) -> None:
        """Adds a point for every value that is a finite number (the journal has None for others)."""
        points = [
            Point(_name(key), float(value), timestamp, step) for key, value in values.items() if value is not None
        ]
        self.points += points
        self.num_points += len(points)

    def describe(self, values: Mapping[str, Any], prefix: str = "") -> None:
        """Adds a parameter for every value; nested mappings become `a/b`."""
        for key, value in values.items():
            if isinstance(value, Mapping) and value:
                self.describe(value, f"{prefix}{key}/")
            else:
                self.params[_name(f"{prefix}{key}")] = to_text(value)

    def forget(self) -> None:
        """Everything that was to be written is written."""
        self.tags, self.params, self.points, self.files = {}, {}, [], {}


def to_ms(seconds: float) -> int:
    """Unix time as MLflow takes it."""
    return round(seconds * 1000)


def _name(key: str) -> str:
    """A key as MLflow takes it: no brackets and no equals sign."""
    return re.sub(r"[^\w\-. /]", "_", key)[:250]


def to_text(value: Any) -> str:
    """A value as a parameter or tag: text as it is, the rest as JSON; no credentials, not too long."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(", ", ": "))
    return scrub(text)[:6000]
