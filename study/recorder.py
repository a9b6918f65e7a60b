"""A Ray Tune callback that writes what happens to the journal."""

import json
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from ray import tune

from study.journal import Journal
from study.plan import Plan
from study.state import OPEN_STATES, StudyState
from study.stopping import StudyStopped

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
            self.stopped = f"{error.filename or self.directory}: {error.strerror}"

    return guarded


class Recorder(tune.Callback, tune.Stopper):
    """Writes events; the journal's listeners keep `state` up to date. As Ray's stopper it is asked first what to make
    of a result: it writes it down and says whether the trial ends here.

    Ray aborts an experiment when a callback raises. That is the one way out of its loop, and is used for stopping.

    Args:
        journal: the study's.
        state: folded from the journal.
        plan: says which trial's first batch sets the scale of the terms.
        directory: the study's folder.
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
        journal: Journal,
        state: StudyState,
        plan: Plan,
        directory: Path,
        *,
        share: float,
        max_retries: int,
        digest: str,
        take_back: Callable[[str], None],
        interrupted: threading.Event,
        tick: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal, self._state, self._plan = journal, state, plan
        self.directory, self._share = directory, share
        self._max_retries, self._digest, self._take_back = max_retries, digest, take_back
        self._interrupted, self._tick, self._clock = interrupted, tick, clock
        self._outcomes: dict[str, dict[str, Any]] = {}
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

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Writes down what a trial measured. True if the trial is to end: it has fallen behind in its search."""
        self._result(result)
        return self._outcomes.get(result["key"], {}).get("state") == "pruned"

    def stop_all(self) -> bool:
        """Never: a study that must stop does so at the end of a step."""
        return False

    @_guarded
    def _result(self, result: dict[str, Any]) -> None:
        key, outcome = result["key"], result["outcome"]
        if "stop" in outcome:
            self.stopped = outcome["stop"]
        elif result.get("code") != self._digest:  # a worker whose code is so old that it does not compare
            self.stopped = f"trial {key}: was trained with other code than the driver's, and is not written down"
            return
        record = self._state.trials[key]
        attempt = record.attempts[-1].number
        heard_of = {m["epoch"] for m in record.measurements if m["attempt"] < attempt}
        for measurement in result.get("measurements", ()):
            # A measurement of an earlier attempt comes again after a resume; it is news only if it was never heard of.
            if measurement["epoch"] not in heard_of:
                self._journal.append("measurement", trial=key, attempt=attempt, device=result["device"], **measurement)
        self._set_scale(record.seed, result.get("initial_losses"))
        if outcome:
            self._outcomes[key] = outcome | {"cost": result.get("cost")}
        elif (epoch := self._plan.fallen_behind(self._state, key)) is not None:
            reason = f"behind the others after {epoch} epoch(s)"
            self._outcomes[key] = {"state": "pruned", "reason": reason, "cost": result.get("cost")}

    @_guarded
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial came to its end by itself or was pruned."""
        key = _key(trial)
        if self._state.trials[key].state != "running":
            return
        self._end(key, **self._outcomes.pop(key))

    @_guarded
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died. It is handed out again, to go on from its checkpoint, as often as is allowed.

        Ray's own retries leave out a trial whose process dies while it is set up.
        """
        key = _key(trial)
        if self._state.trials[key].state == "waiting":
            self._start(key)
        retry = len(self._state.trials[key].attempts) <= self._max_retries
        self._end(key, state="lost" if retry else "failed", reason=_reason(trial), retry=retry)
        if retry:
            self._take_back(key)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Signs of life, and the place where an interruption takes effect."""
        # Ray wraps what the other hooks raise, but not what this one does.
        if self.stopped or self._interrupted.is_set():
            raise StudyStopped(self.stopped or "interrupted")
        running = any(trial.state == "running" for trial in self._state.trials.values())
        if running and self._journal.seconds() - self._state.clock > HEARTBEAT_SECONDS:
            self._journal.append("heartbeat")
        self._tick()

    def _start(self, key: str) -> None:
        attempt = len(self._state.trials[key].attempts) + 1
        self._journal.append("attempt_started", trial=key, attempt=attempt, started=self._clock(), share=self._share)

    def _end(self, key: str, *, state: str, **fields: Any) -> None:
        folder = self.directory / "checkpoints" / key
        if state == "complete":
            # Scores first: if the driver dies between the two lines, the trial is open and reports again.
            self._journal.append("scores", trial=key, scores=json.loads((folder / "scores.json").read_text()))
        self._journal.append("attempt_ended", trial=key, state=state, **fields)
        if state in ("complete", "pruned"):
            for path in folder.glob("state*.pt*"):
                path.unlink(missing_ok=True)

    def _set_scale(self, seed: int, losses: dict[str, float] | None) -> None:
        """Writes the terms' initial losses down once, of the plan's first seed while one of its trials can tell."""
        if self._state.scale is not None or not losses:
            return
        awaited = [t for t in self._state.trials.values() if t.seed == self._plan.scale_seed]
        if seed == self._plan.scale_seed or not any(t.state in OPEN_STATES for t in awaited):
            scale = {term: loss if 0 < loss < float("inf") else 1.0 for term, loss in losses.items()}
            self._journal.append("scale", losses=scale, seed=seed)


def _key(trial: Any) -> str:
    return trial.config["trial"]["key"]


def _reason(trial: Any) -> str:
    """Why a process died, in a few words."""
    lines = str(trial.get_error() or "its process died").strip().splitlines()
    text = " ".join(lines)
    if "OutOfMemory" in text or ("memory" in text.lower() and "killed" in text.lower()):
        return "out of memory: the system killed the process; lower training.batch_size or resources.workers"
    return f"its process died ({lines[-1][:200]})"
