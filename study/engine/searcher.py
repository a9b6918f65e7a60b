"""One Ray Tune Searcher that walks the plan, and the order in which Ray starts what it hands out."""

from typing import Any

from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from search_spaces.learning_rate import NAME as LEARNING_RATE
from study.planning.plan import Plan
from study.record.events import Note, TrialPlanned, TrialSpec
from study.record.record import Record
from trainables.task import TASK, TrialTask


class PlanSearcher(Searcher):
    """Hands Ray the next trial of the plan.

    It sees nothing of Ray's results: what is known of a trial is in the journal's state, and the plan reads
    validation metrics there only.

    Args:
        plan: what there is to do.
        record: where new trials and ended searches are written, and what is known of the others.
        num_workers: trials that run at a time.
        max_open: trials handed out at a time, None for as many as Ray takes: some more than run, to have them at hand.
    """

    def __init__(
        self,
        plan: Plan,
        record: Record,
        *,
        num_workers: int,
        max_open: int | None = None,
    ) -> None:
        super().__init__()
        self._plan, self._record = plan, record
        self._num_workers, self._max_open = num_workers, max_open
        self._handed_out: set[str] = set()
        self.exhausted = False
        """Whether every trial of the plan has been handed out."""
        self.failure: OSError | None = None
        """Why the journal could not be written."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # as Ray documents it
        """The next trial as a Ray config, None while it must wait, `FINISHED` at the end."""
        try:
            return self._suggest()
        except OSError as error:  # Ray would wrap it; the next turn of its loop stops the study
            self.failure = error
            return None

    def _suggest(self) -> dict[str, Any] | str | None:
        while endings := self._plan.endings(self._record.state):
            for ending in endings:
                self._record.append(ending)
                if ending.given_up:
                    name = f"{ending.arm}, replicate {ending.replicate}"
                    self._record.append(Note(text=f"The search of {name} was given up: {ending.reason}."))
        num_open = sum(
            trial.state.is_open and key in self._handed_out for key, trial in self._record.state.trials.items()
        )
        # Until the terms' scale is known a search has no second trial, and what Ray took beforehand would go before it.
        max_open = self._max_open if self._record.state.scale is not None else self._num_workers
        if max_open is not None and num_open >= max_open:
            return None
        trial = self._left_behind() or self._new()
        if trial is not None:
            self._handed_out.add(trial.key)
            return {TASK: task(trial)}
        self.exhausted = self._plan.exhausted(self._record.state)
        return Searcher.FINISHED if self.exhausted else None

    def take_back(self, key: str) -> None:
        """A trial is to be handed out again: its process died."""
        self._handed_out.discard(key)

    def _left_behind(self) -> TrialSpec | None:
        """A trial that an earlier driver, or a process that died, did not bring to its end."""
        trials = self._record.state.trials.items()
        waiting = (t.spec for k, t in trials if t.state == "waiting" and k not in self._handed_out)
        return next(waiting, None)

    def _new(self) -> TrialSpec | None:
        trial = self._plan.next(self._record.state)
        if trial is not None:
            self._record.append(TrialPlanned(spec=trial))
        return trial

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the journal has been told already."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, for the same reason."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the memory."""


class InOrder(FIFOScheduler):
    """Starts trials in the order of Ray's queue, which passes over those that a process is starting for.

    Ray's own choice is the oldest trial that waits, even so: a worker that is free takes it over, the process that was
    nearly there is stopped, and where trials are shorter than a start there is never a second worker. For searchers
    that hand out no more trials than there are workers: of others some would wait to the end.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None: the queue's order is followed where a scheduler has no choice of its own."""


def task(trial: TrialSpec) -> TrialTask:
    """What a worker is told of a trial."""
    return TrialTask(
        key=trial.key,
        seed=trial.seed,
        terms=trial.terms,
        weighting=trial.weighting,
        training={name: trial.params[name] for name in (LEARNING_RATE,) if name in trial.params},
        keep_model=trial.role != "search",
    )
