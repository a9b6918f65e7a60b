"""What a journal says once it is replayed: the state of a study.

Pure data. The searcher's memory, the ledger, MLflow's runs and the report are all derived from a `StudyState`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainables.goals import GOALS

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""subject or scan (pseudonym) -> region (`mask`, `volume`, `lesion`) -> metric (`psnr`, `rmse`, ...) -> value."""

_NAME_OF_SCAN = re.compile(r"(?P<pseudonym>subject-\d{3,})-scan-\d+|(?P<id>.+?)(?:_(?:ses|run|scan)-[^_]+)+")
"""How scans are called of subjects that have several, with pseudonyms and without."""

OPEN_STATES = ("waiting", "running")


@dataclass(kw_only=True)
class Attempt:
    """One try at a trial. A crash makes a second; every one of them is paid for."""

    number: int
    started: float
    """When the device was taken, in seconds of the study's clock (`Journal.seconds`)."""
    share: float
    """Devices held: 1, a fraction of one, or several."""
    device: str = ""
    """Name of the device, known from the first measurement on."""
    node: str = ""
    device_uuid: str | None = None
    state: str = "running"
    """`running`, `complete`, `pruned`, `failed` or `lost`."""
    started_time: float = 0.0
    """The same as a Unix time: a label, which costs never come from, since that clock may step."""
    ended: float | None = None
    """In seconds of the study's clock; while running, of the last event heard of."""
    ended_time: float | None = None
    """The same as a Unix time."""
    reason: str | None = None
    cost: dict[str, float | None] = field(default_factory=dict)
    """Last cumulative cost the attempt reported itself (see `trainables.meter.Cost`)."""

    @property
    def device_seconds(self) -> float:
        """Paid cost: seconds that the device was held, times the share held."""
        return max(0.0, (self.ended or self.started) - self.started) * self.share


@dataclass(kw_only=True)
class Trial:
    """One training under one key, however many attempts it took."""

    key: str
    arm: str
    role: str
    """`single`, `search` or `confirmation`."""
    seed: int
    replicate: int | None = None
    number: int | None = None
    """Position in its search, from 0; None outside a search."""
    params: dict[str, Any] = field(default_factory=dict)
    weighting: dict[str, Any] = field(default_factory=dict)
    terms: list[str] = field(default_factory=list)
    state: str = "waiting"
    """`waiting`, `running`, `complete`, `pruned` or `failed`."""
    attempts: list[Attempt] = field(default_factory=list)
    measurements: list[dict[str, Any]] = field(default_factory=list)
    """Per epoch: `time`, `attempt`, `epoch`, `step`, `metrics` (`val/psnr`, `loss/l1`, `lr`), `weights`, `cost`."""
    scores: Scores | None = None
    """Held-out test scores of each subject, the mean of its scans; the searcher never reads them."""
    scan_scores: Scores | None = None
    """The same of each scan."""

    @property
    def device_seconds(self) -> float:
        """Paid cost of all attempts in device-seconds."""
        return sum(attempt.device_seconds for attempt in self.attempts)

    @property
    def ended(self) -> float | None:
        """When the last attempt ended, by the study's clock; None while it has not."""
        if self.state in OPEN_STATES or not self.attempts:
            return None
        return self.attempts[-1].ended

    def best(self, metric: str, goal: str, *, until: float = math.inf) -> dict[str, Any] | None:
        """The measurement up to epoch `until` with the best finite `metric` (`goal` is `max` or `min`), None if there
        is none."""
        measured = [m for m in self.measurements if m["epoch"] <= until and m["metrics"].get(metric) is not None]
        if not measured:
            return None
        return (max if goal == "max" else min)(measured, key=lambda m: m["metrics"][metric])


@dataclass(kw_only=True)
class Search:
    """How a tuned replicate ended."""

    arm: str
    replicate: int
    incumbent: str | None
    """Key of the best validated trial, None if none completed."""
    reason: str
    given_up: bool = False
    """Whether it ended before its budget was spent."""


@dataclass(kw_only=True)
class Driver:
    """One life of the process that runs the study. What a journal of an earlier version does not tell is None."""

    versions: dict[str, str] | None = None
    """Of Python and of packages, by name."""
    hardware: dict[str, Any] | None = None
    git_revision: str | None = None
    code: dict[str, Any] | None = None
    """`root` and `digests` of this project's packages, see `study.environment`."""
    worked: bool = False
    """Whether anything was measured under it: a driver that finds nothing left to do only writes the report."""


@dataclass(kw_only=True)
class StudyState:
    """Everything a journal tells."""

    info: dict[str, Any] = field(default_factory=dict)
    """`name`, `config` (resolved), `cohort`, `versions`, `hardware`, `git_revision`, `objective`, `goal`, `goals`,
    `parts`, `terms`, `arms`, `scans` (scan -> subject)."""
    drivers: list[Driver] = field(default_factory=list)
    """In the order in which they came."""
    trials: dict[str, Trial] = field(default_factory=dict)
    searches: dict[tuple[str, int], Search] = field(default_factory=dict)
    baselines: dict[str, Scores] = field(default_factory=dict)
    """`identity` and `intensity_map` -> test scores of each subject, the mean of its scans."""
    baseline_scans: dict[str, Scores] = field(default_factory=dict)
    """The same of each scan."""
    scale: dict[str, float] | None = None
    """Initial value of each term, measured once: the unit of the hand-tuned space."""
    started: float | None = None
    updated: float | None = None
    """Unix time of the last event."""
    clock: float = 0.0
    """The study's clock at the last event, in seconds."""
    finished: bool = False
    notes: list[str] = field(default_factory=list)
    """Things the report must say (a stopped search, a torn line, mixed devices)."""

    @property
    def goals(self) -> Mapping[str, str]:
        """The metrics that are measured, and which way is better: `max` or `min`."""
        return self.info.get("goals") or GOALS

    def subject_of(self, scan: str) -> str:
        """The subject of a scan, by the names that scores have; older journals tell it by the scan's name alone."""
        scans = self.info.get("scans")
        if scans is not None:
            return scans.get(scan, scan)
        match = _NAME_OF_SCAN.fullmatch(scan)
        return scan if match is None else match["pseudonym"] or match["id"]

    def take_up(self, values: Mapping[str, Any]) -> None:
        """A driver goes on with other values of these keys (`resources.workers`) of the configuration."""
        for key, value in values.items():
            *parents, last = key.split(".")
            node = self.info["config"]
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = value

    def of_arm(self, arm: str) -> list[Trial]:
        """Trials of an arm in the order in which they were handed out."""
        return [trial for trial in self.trials.values() if trial.arm == arm]
