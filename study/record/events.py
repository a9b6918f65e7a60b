"""What can happen in a study: a closed union of events.

The journal keeps an event as a JSON object whose keys are the event's fields, in the order in which they stand here
(`study.record.codec`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from trainables.meter import Cost
from trainables.proof import Code
from trainables.task import JSON, Device, Measurement

Scores = Mapping[str, Mapping[str, Mapping[str, float | None]]]
"""subject or scan (pseudonym) -> region (`mask`, `volume`, `lesion`) -> metric (`psnr`, `rmse`, ...) -> value; None for
what is not finite."""
Document = Mapping[str, JSON]


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """A trial as the plan makes it and the journal keeps it."""

    key: str
    arm: str
    role: str
    """`single`, `search` or `confirmation`."""
    seed: int
    replicate: int | None = None
    number: int | None = None
    """Position in its search, from 0; None outside a search."""
    params: Mapping[str, float] = field(default_factory=dict)
    weighting: Document = field(default_factory=dict)
    terms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StudyBegun:
    """What the study is, once; `study.record.info.StudyInfo` reads it."""

    kind: ClassVar[str] = "study"
    document: Document


@dataclass(frozen=True, kw_only=True)
class DriverStarted:
    """A process drives the study from now on."""

    kind: ClassVar[str] = "driver_started"
    pid: int
    workers: int | None = None
    taken_up: Document | None = None
    """Keys of the configuration, edited since the last driver, that this one goes on with. This and what follows is
    None in a journal of an earlier version."""
    versions: Mapping[str, str] | None = None
    hardware: Document | None = None
    git_revision: str | None = None
    code: Code | None = None


@dataclass(frozen=True, kw_only=True)
class DriverStopped:
    """That process was interrupted or failed."""

    kind: ClassVar[str] = "driver_stopped"
    reason: str


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """The driver still runs."""

    kind: ClassVar[str] = "heartbeat"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Test scores of what needs no network: `identity`, `intensity_map`."""

    kind: ClassVar[str] = "baseline"
    name: str
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class ScaleMeasured:
    """Initial loss of each term: the unit of the space that is searched."""

    kind: ClassVar[str] = "scale"
    losses: Mapping[str, float]
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrialPlanned:
    """A trial is handed out."""

    kind: ClassVar[str] = "trial"
    spec: TrialSpec


@dataclass(frozen=True, kw_only=True)
class AttemptStarted:
    """A device is taken for a trial."""

    kind: ClassVar[str] = "attempt_started"
    trial: str
    attempt: int
    started: float
    """Unix time in seconds."""
    share: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An epoch of a trial was measured."""

    kind: ClassVar[str] = "measurement"
    trial: str
    attempt: int
    device: Device
    measurement: Measurement


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A complete trial's test scores."""

    kind: ClassVar[str] = "scores"
    trial: str
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class AttemptEnded:
    """A device is given back: `complete`, `pruned`, `failed`, or `lost` where the process died."""

    kind: ClassVar[str] = "attempt_ended"
    trial: str
    state: str
    reason: str | None = None
    retry: bool | None = None
    """Whether a lost attempt is followed by another; None where the worker itself told how it ended."""
    ended: float | None = None
    """Unix time in seconds; None: when the event was written."""
    cost: Cost | None = None
    """Cumulative cost that the worker reported; None where it died, or failed before it could count."""


@dataclass(frozen=True, kw_only=True)
class SearchEnded:
    """How a replicate of a search ended."""

    kind: ClassVar[str] = "search_ended"
    arm: str
    replicate: int
    incumbent: str | None
    """Key of the best validated trial, None if none completed."""
    reason: str
    given_up: bool | None = None
    """Whether it ended before its budget was spent; None in a journal of an earlier version."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something that the report must say."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Nothing is left to do."""

    kind: ClassVar[str] = "finished"


Event = (
    StudyBegun
    | DriverStarted
    | DriverStopped
    | Heartbeat
    | Baseline
    | ScaleMeasured
    | TrialPlanned
    | AttemptStarted
    | Measured
    | Scored
    | AttemptEnded
    | SearchEnded
    | Note
    | Finished
)
