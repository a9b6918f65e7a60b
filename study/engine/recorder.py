"""A Ray Tune callback that writes what happens to the journal."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from ray import tune

from study.engine.stopping import StudyInterrupted, StudyStopped
from study.planning.plan import Plan
from study.record.events import AttemptEnded, AttemptStarted, Heartbeat, Measured, ScaleMeasured, Scored
from study.record.record import Record
from study.record.state import TrialState
from trainables.checkpoint import remove_states
from trainables.task import REPORT, TASK, TrialReport

HEARTBEAT_SECONDS = 5.0
"""How often a running study says so: what a kill can leave uncharged."""


def _guarded(hook: Callable[..., None]) -> Callable[..., None]:
    """Keeps a failing storage (the journal's disk is full) from raising inside Ray; the next turn stops the study."""

    @wraps(hook)
    def guarded(self: "Recorder", *arguments: Any, **named: Any) -> None:
        if self.stopped:
            return
        try:
            hook(self, *arguments, **named)
        except OSError as error:
            self.stopped = f"{error.filename or self._record.directory}: {error.strerror}"

    return guarded


class Recorder(tune.Callback, tune.Stopper):
    """Writes events to the record. As Ray's stopper it is asked first what to make of a result: it writes it down and
    says whether the trial ends here.

    Ray aborts an experiment when a callback raises. That is the one way out of its loop, and is used for stopping.

    Args:
        record: the study's.
        plan: says which trial's first batch sets the scale of the terms.
        share: share of a device that a trial holds.
        max_retries: how often a trial whose process died is tried again.
        digest: of the code that trials must have been trained with, see `trainables.proof`.
        take_back: told the key of a trial that is to be handed out again.
        interrupted: set when a person or the system asks the study to stop.
        tick: called about ten times a second.
        clock: returns Unix time in seconds.
    """

    def __init__(
        self,
        record: Record,
        plan: Plan,
        *,
        share: float,
        max_retries: int,
        digest: str,
        take_back: Callable[[str], None],
        interrupted: threading.Event,
        tick: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._record, self._plan, self._share = record, plan, share
        self._max_retries, self._digest, self._take_back = max_retries, digest, take_back
        self._interrupted, self._tick, self._clock = interrupted, tick, clock
        self._outcomes: dict[str, AttemptEnded] = {}
        self.stopped: str | None = None
        """Why the study must stop, once the storage has failed or a worker has other code: nothing is written or
        started any more."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles its callbacks for a restore that is never asked of it."""
        return {}

    @_guarded
    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """An attempt begins. When it took its device is known with its first measurement."""
        self._start(_key(trial))

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Writes down what a trial measured. True if the trial is to end: it has fallen behind in its search."""
        report: TrialReport = result[REPORT]
        self._take(report)
        outcome = self._outcomes.get(report.key)
        return outcome is not None and outcome.state == TrialState.PRUNED

    def stop_all(self) -> bool:
        """Never: a study that must stop does so at the end of a step."""
        return False

    @_guarded
    def _take(self, report: TrialReport) -> None:
        if report.outcome is not None and report.outcome.stop:
            self.stopped = report.outcome.stop
        elif report.digest != self._digest:  # a worker whose code is so old that it does not compare
            self.stopped = f"trial {report.key}: was trained with other code than the driver's, and is not written down"
            return
        trial = self._record.state.trials[report.key]
        *earlier, attempt = trial.attempts
        # A measurement of an earlier attempt comes again after a resume; it is news only if it was never heard of.
        heard = max((a.last_epoch for a in earlier), default=0)
        for measurement in report.measurements:
            if measurement.epoch > heard and report.device is not None:
                self._record.append(
                    Measured(trial=trial.key, attempt=attempt.number, device=report.device, measurement=measurement)
                )
        self._set_scale(trial.seed, report.initial_losses)
        if report.outcome is not None:
            self._end_with(report, report.outcome.state, report.outcome.reason)
        elif (epoch := self._plan.fallen_behind(self._record.state, trial.key)) is not None:
            self._end_with(report, TrialState.PRUNED, f"behind the others after {epoch} epoch(s)")

    def _end_with(self, report: TrialReport, state: str, reason: str | None) -> None:
        """Keeps how a trial ends until Ray has ended it, too."""
        self._outcomes[report.key] = AttemptEnded(trial=report.key, state=state, reason=reason, cost=report.cost)

    @_guarded
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial came to its end by itself or was pruned."""
        key = _key(trial)
        if self._record.state.trials[key].state == TrialState.RUNNING:
            self._end(self._outcomes.pop(key))

    @_guarded
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died. It is handed out again, to go on from its checkpoint, as often as is allowed.

        Ray's own retries leave out a trial whose process dies while it is set up.
        """
        key = _key(trial)
        known = self._record.state.trials[key]
        if known.state == TrialState.WAITING:
            self._start(key)
        retry = len(known.attempts) <= self._max_retries
        state = TrialState.LOST if retry else TrialState.FAILED
        self._end(AttemptEnded(trial=key, state=state, reason=_reason(trial), retry=retry))
        if retry:
            self._take_back(key)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Signs of life, and the place where an interruption takes effect."""
        # Ray wraps what the other hooks raise, but not what this one does.
        if self.stopped:
            raise StudyStopped(self.stopped)
        if self._interrupted.is_set():
            raise StudyInterrupted("interrupted")
        state = self._record.state
        running = any(trial.state == TrialState.RUNNING for trial in state.trials.values())
        if running and self._record.seconds() - state.clock > HEARTBEAT_SECONDS:
            self._record.append(Heartbeat())
        self._tick()

    def _start(self, key: str) -> None:
        attempt = len(self._record.state.trials[key].attempts) + 1
        self._record.append(AttemptStarted(trial=key, attempt=attempt, started=self._clock(), share=self._share))

    def _end(self, ended: AttemptEnded) -> None:
        folder = self._record.directory / "checkpoints" / ended.trial
        if ended.state == TrialState.COMPLETE:
            # Scores first: if the driver dies between the two lines, the trial is open and reports again.
            self._record.append(Scored(trial=ended.trial, scores=json.loads((folder / "scores.json").read_text())))
        self._record.append(ended)
        if ended.state in (TrialState.COMPLETE, TrialState.PRUNED):
            remove_states(folder)

    def _set_scale(self, seed: int, losses: Mapping[str, float]) -> None:
        """Writes the terms' initial losses down once, of the plan's first seed while one of its trials can tell."""
        if self._record.state.scale is not None or not losses:
            return
        awaited = [t for t in self._record.state.trials.values() if t.seed == self._plan.scale_seed]
        if seed == self._plan.scale_seed or not any(t.state.is_open for t in awaited):
            scale = {term: loss if 0 < loss < float("inf") else 1.0 for term, loss in losses.items()}
            self._record.append(ScaleMeasured(losses=scale, seed=seed))


def _key(trial: Any) -> str:
    return trial.config[TASK].key


def _reason(trial: Any) -> str:
    """Why a process died, in a few words."""
    lines = str(trial.get_error() or "its process died").strip().splitlines()
    text = " ".join(lines)
    if "OutOfMemory" in text or ("memory" in text.lower() and "killed" in text.lower()):
        return "out of memory: the system killed the process; lower training.batch_size or resources.workers"
    return f"its process died ({lines[-1][:200]})"
