"""What a journal says once it is replayed: the state of a study.

Pure data. The searcher's memory, the ledger, MLflow's runs and the report are all derived from a `StudyState`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from study.record.events import Document, Scores, SearchEnded, TrialSpec
from study.record.info import StudyInfo
from study.record.objective import Objective
from trainables.meter import Cost
from trainables.proof import Code
from trainables.quantities import Goal
from trainables.task import Device, Measurement


class TrialState(StrEnum):
    """Where a trial, or an attempt at it, stands."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    LOST = "lost"
    """Of attempts only: the trial waits to be tried again."""

    @property
    def is_open(self) -> bool:
        """Whether something is still to come."""
        return self in (TrialState.WAITING, TrialState.RUNNING)


@dataclass(kw_only=True)
class Attempt:
    """One try at a trial. A crash makes a second; every one of them is paid for."""

    number: int
    started: float
    """When the device was taken, in seconds of the study's clock (`Journal.seconds`)."""
    share: float
    """Devices held: 1, a fraction of one, or several."""
    device: Device | None = None
    """Known from the first measurement on."""
    state: TrialState = TrialState.RUNNING
    started_time: float = 0.0
    """The same as a Unix time: a label, which costs never come from, since that clock may step."""
    ended: float | None = None
    """In seconds of the study's clock; while running, of the last event heard of."""
    ended_time: float | None = None
    """The same as a Unix time."""
    reason: str | None = None
    cost: Cost | None = None
    """Last cumulative cost that the attempt reported itself."""
    last_epoch: int = 0
    """Last epoch that the attempt measured; 0 if none."""

    @property
    def device_seconds(self) -> float:
        """Paid cost: seconds that the device was held, times the share held."""
        return max(0.0, (self.ended or self.started) - self.started) * self.share


@dataclass(kw_only=True)
class Trial:
    """One training under one key, however many attempts it took."""

    spec: TrialSpec
    state: TrialState = TrialState.WAITING
    attempts: list[Attempt] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    """An entry an epoch; an epoch that a later attempt repeated supersedes the earlier entry."""
    scores: Scores | None = None
    """Held-out test scores of each subject, the mean of its scans; the searcher never reads them."""
    scan_scores: Scores | None = None
    """The same of each scan."""

    @property
    def key(self) -> str:
        """As files and runs are named."""
        return self.spec.key

    @property
    def arm(self) -> str:
        """Name of its arm."""
        return self.spec.arm

    @property
    def role(self) -> str:
        """`single`, `search` or `confirmation`."""
        return self.spec.role

    @property
    def seed(self) -> int:
        """Of initial weights and batch order."""
        return self.spec.seed

    @property
    def replicate(self) -> int | None:
        """Number of its search; None outside of one."""
        return self.spec.replicate

    @property
    def number(self) -> int | None:
        """Position in its search, from 0; None outside of one."""
        return self.spec.number

    @property
    def params(self) -> Mapping[str, float]:
        """What a search varied."""
        return self.spec.params

    @property
    def weighting(self) -> Document:
        """How the losses were weighted, as plain values."""
        return self.spec.weighting

    @property
    def terms(self) -> Sequence[str]:
        """The losses it was trained on."""
        return self.spec.terms

    @property
    def device_seconds(self) -> float:
        """Paid cost of all attempts in device-seconds."""
        return sum(attempt.device_seconds for attempt in self.attempts)

    @property
    def ended(self) -> float | None:
        """When the last attempt ended, by the study's clock; None while it has not."""
        if self.state.is_open or not self.attempts:
            return None
        return self.attempts[-1].ended


@dataclass(kw_only=True)
class Driver:
    """One life of the process that runs the study. What a journal of an earlier version does not tell is None."""

    versions: Mapping[str, str] | None = None
    """Of Python and of packages, by name."""
    hardware: Document | None = None
    git_revision: str | None = None
    code: Code | None = None
    worked: bool = False
    """Whether anything was measured under it: a driver that finds nothing left to do only writes the report."""


@dataclass(kw_only=True)
class StudyState:
    """Everything a journal tells."""

    info: StudyInfo = field(default_factory=StudyInfo)
    drivers: list[Driver] = field(default_factory=list)
    """In the order in which they came."""
    trials: dict[str, Trial] = field(default_factory=dict)
    searches: dict[tuple[str, int], SearchEnded] = field(default_factory=dict)
    """(arm, replicate) -> how that search ended."""
    baselines: dict[str, Scores] = field(default_factory=dict)
    """`identity` and `intensity_map` -> test scores of each subject, the mean of its scans."""
    baseline_scans: dict[str, Scores] = field(default_factory=dict)
    """The same of each scan."""
    scale: Mapping[str, float] | None = None
    """Initial value of each term, measured once: the unit of the hand-tuned space."""
    started: float | None = None
    updated: float | None = None
    """Unix time of the last event."""
    clock: float = 0.0
    """The study's clock at the last event, in seconds."""
    finished: bool = False
    notes: list[str] = field(default_factory=list)
    """What the report must say: that a study went on with other code than it was begun with."""

    @property
    def begun(self) -> bool:
        """Whether the journal says what the study is."""
        return self.started is not None

    @property
    def objective(self) -> Objective:
        """The metric that selects."""
        return self.info.objective

    @property
    def goals(self) -> Mapping[str, Goal]:
        """The metrics that are measured, and which way is better."""
        return self.info.goals

    def complete(self, arm: str) -> list[Trial]:
        """Trials of an arm that came to their end."""
        return [trial for trial in self.of_arm(arm) if trial.state is TrialState.COMPLETE]

    @property
    def open_arms(self) -> set[str]:
        """Arms of which a trial runs or waits."""
        return {trial.arm for trial in self.trials.values() if trial.state.is_open}

    def of_arm(self, arm: str) -> list[Trial]:
        """Trials of an arm in the order in which they were handed out."""
        return [trial for trial in self.trials.values() if trial.arm == arm]
