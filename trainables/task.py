"""What crosses to a worker and back: the orders of a trial, and what it reports. Imports nothing slow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trainables.meter import Cost
from trainables.proof import Code

JSON = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]
"""A plain value, as JSON and YAML hold it."""


TASK, REPORT = "task", "report"
"""Under these keys Ray carries a `TrialTask` to a worker, and a `TrialReport` back."""


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker is told once: the study's constants."""

    training: Mapping[str, JSON]
    """A `TrainingConfig` as plain values."""
    terms: tuple[str, ...]
    """All terms of the study, whose natural scale is measured."""
    objective: str
    metrics: tuple[str, ...]
    module_path: tuple[str, ...]
    directory: Path
    """The study's folder, absolute."""
    share: float
    """Devices that a trial holds: 1, a fraction of one, or several."""
    num_threads: int
    code: Code
    """The driver's: a worker trains only with the same."""
    components: Mapping[str, str | None]
    """Where each user-defined component comes from at the driver, by `<kind>/<name>`."""


@dataclass(frozen=True, kw_only=True)
class TrialTask:
    """What a worker is told of a trial."""

    key: str
    seed: int
    terms: tuple[str, ...]
    weighting: Mapping[str, JSON]
    """What `trainables.weighting.make_weighting` takes."""
    training: Mapping[str, float] = field(default_factory=dict)
    """Keys of the training's configuration that this trial sets for itself."""
    keep_model: bool


@dataclass(frozen=True, kw_only=True)
class Device:
    """What a trial was trained on."""

    name: str
    uuid: str | None
    """Of a GPU; None elsewhere."""
    node: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one epoch measured."""

    epoch: int
    """Epochs done, from 1."""
    step: int
    """Optimiser steps done."""
    metrics: Mapping[str, float | None]
    """`val/<metric>` in mask, mean over subjects; `loss/<term>`, mean over the epoch's steps; `lr`. In a journal,
    None stands for what is not finite."""
    weights: Mapping[str, float]
    """Mean weight of each term over the epoch's steps; they sum to 1."""
    cost: Cost


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended, as its worker saw it."""

    state: Literal["complete", "pruned", "failed", "lost"]
    reason: str | None = None
    stop: str | None = None
    """Why the whole study must stop: the storage failed."""


@dataclass(frozen=True, kw_only=True)
class TrialReport:
    """What a worker reports after a step: an epoch, or the end."""

    key: str
    measurements: tuple[Measurement, ...] = ()
    """Those that were not reported before, in order."""
    initial_losses: Mapping[str, float] = field(default_factory=dict)
    device: Device | None = None
    """None where the trial failed before it had one, as the cost is."""
    cost: Cost | None = None
    outcome: Outcome | None = None
    """None while the trial goes on."""
    digest: str
    """Of the code that it was trained with."""
