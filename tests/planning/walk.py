"""Walks a plan without Ray: as many workers as asked for, trials ending in whatever order the seed draws."""

import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from study.planning.plan import Plan
from study.record.codec import from_plain
from study.record.events import AttemptStarted, Event, TrialPlanned
from study.record.folding import apply
from study.record.journal import Stamped
from study.record.objective import Objective
from study.record.state import StudyState, Trial
from study.settings.arms import make_arms
from study.settings.reading import PRESETS, validate
from study.settings.schema import StudyConfig
from tests.record.plain import complete
from trainables.quantities import GOALS, Goal

DEMO = yaml.safe_load((PRESETS / "demo.yaml").read_text())
SCALE = {"l1": 0.2, "ssim": 0.8, "gradient": 0.05, "frequency": 0.1}
BEST = {"l1": 0.5, "ssim": 0.1, "gradient": 0.3, "frequency": 0.1}


def config(**changes) -> StudyConfig:
    return validate(DEMO | changes, "test")


def make_plan(config: StudyConfig, storage: Path | None = None, goals: Mapping[str, Goal] = GOALS) -> Plan:
    """As a study makes it, of metrics that are built in."""
    objective = Objective(name=config.objective, goal=goals[config.objective])
    return Plan(make_arms(config), seed=config.seed, objective=objective, goals=goals, storage=storage)


def quality(trial: Trial, epoch: int = 1) -> float:
    """A PSNR that is a smooth function of the weights, and of the epoch, in which curves cross."""
    weights = trial.weighting.get("weights") or [1 / len(trial.terms)] * len(trial.terms)
    distance = sum((w - BEST[t]) ** 2 for w, t in zip(weights, trial.terms, strict=True))
    rate = math.log10(trial.params.get("learning_rate", 1e-3) / 1e-3)
    return 25 - 5 * math.sqrt(distance) - rate**2 + random.Random(f"{trial.key} {epoch}").uniform(0, 0.5) * (epoch > 1)


class Walk:
    """A study on `workers` simulated workers.

    Args:
        config: what to run.
        workers: trials at a time.
        seed: of the order in which trials end and of how long they take.
        fail: keys of trials that fail.
        epochs: of each trial.
    """

    def __init__(
        self,
        config: StudyConfig,
        *,
        workers: int = 2,
        seed: int = 0,
        fail: tuple[str, ...] = (),
        epochs: int = 1,
        folder: Path | None = None,
    ) -> None:
        self.plan = make_plan(config, folder and folder / "optuna")
        self.state = StudyState()
        self.workers, self.epochs = workers, epochs
        self.scale: dict[str, float] | None = SCALE
        self.fails: Callable[[str], bool] = fail.__contains__
        self._random = random.Random(seed)
        self.now = 0.0
        self.clock_set = 0.0
        """By how much the computer's clock was set since the start; studies have no use of it."""
        self.order: list[str] = []

    def tell(self, event: Event) -> None:
        apply(self.state, Stamped(number=0, time=self.now + self.clock_set, clock=self.now, event=event))

    def event(self, kind: str, **fields) -> None:
        self.tell(from_plain(kind, complete(kind, fields)))

    def start_all(self) -> None:
        """Fills the free workers."""
        while True:
            while endings := self.plan.endings(self.state):
                for ending in endings:
                    self.tell(ending)
            running = [t for t in self.state.trials.values() if t.state.is_open]
            trial = self.plan.next(self.state) if len(running) < self.workers else None
            if trial is None:
                return
            assert trial.key not in self.state.trials
            self.order.append(trial.key)
            self.tell(TrialPlanned(spec=trial))
            self.tell(AttemptStarted(trial=trial.key, attempt=1, started=self.now + self.clock_set, share=1))

    def step_one(self) -> None:
        """One running trial trains an epoch, and ends if it was the last one."""
        running = [t for t in self.state.trials.values() if t.state == "running"]
        trial = self._random.choice(running)
        self.now += self._random.uniform(1, 10)
        if self.scale is not None and self.state.scale is None and trial.seed == self.plan.scale_seed:
            self.event("scale", losses=self.scale, seed=trial.seed)
        if self.fails(trial.key):
            self.event("attempt_ended", trial=trial.key, state="failed", reason="NaN")
            return
        seconds = self.now - trial.attempts[-1].started
        epoch = len(trial.measurements) + 1
        weights = trial.weighting.get("weights") or [1 / len(trial.terms)] * len(trial.terms)
        self.event(
            "measurement", trial=trial.key, attempt=1, epoch=epoch, step=epoch,
            metrics={"val/psnr": quality(trial, epoch), "val/ssim": 0.9 - 0.1 * weights[0]},
            weights=dict(zip(trial.terms, weights, strict=True)), cost={"device_seconds": seconds},
            device={"name": "cpu", "uuid": None, "node": "here"},
        )  # fmt: skip
        if epoch == self.epochs:
            self.event("attempt_ended", trial=trial.key, state="complete")
        elif self.plan.fallen_behind(self.state, trial.key) is not None:
            self.event("attempt_ended", trial=trial.key, state="pruned")

    def run(self, *, limit: int | None = None) -> StudyState:
        """To the end, of which there must be one before there are more than `limit` trials."""
        self.start_all()
        while not self.plan.exhausted(self.state) or any(t.state.is_open for t in self.state.trials.values()):
            self.step_one()
            self.start_all()
            assert limit is None or len(self.state.trials) <= limit, "no end"
        return self.state
