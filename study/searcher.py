"""One Ray Tune Searcher that walks the plan, and the order in which Ray starts what it hands out."""

from dataclasses import asdict
from typing import Any

from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from search_spaces.learning_rate import NAME as LEARNING_RATE
from study.journal import Journal
from study.plan import Plan
from study.state import OPEN_STATES, StudyState, Trial


class PlanSearcher(Searcher):
    """Hands Ray the next trial of the plan.

    It sees nothing of Ray's results: what is known of a trial is in the journal's state, and the plan reads
    validation metrics there only.

    Args:
        plan: what there is to do.
        journal: where new trials and ended searches are written.
        state: folded from the journal; kept up to date through its listeners.
        num_workers: trials that run at a time.
        max_open: trials handed out at a time, None for as many as Ray takes: some more than run, to have them at hand.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        state: StudyState,
        *,
        num_workers: int,
        max_open: int | None = None,
    ) -> None:
        super().__init__()
        self._plan, self._journal, self._state = plan, journal, state
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
        while endings := self._plan.endings(self._state):
            for ending in endings:
                self._journal.append("search_ended", **asdict(ending))
                if ending.given_up:
                    name = f"{ending.arm}, replicate {ending.replicate}"
                    self._journal.append("note", text=f"The search of {name} was given up: {ending.reason}.")
        num_open = sum(
            trial.state in OPEN_STATES and key in self._handed_out for key, trial in self._state.trials.items()
        )
        # Until the terms' scale is known a search has no second trial, and what Ray took beforehand would go before it.
        max_open = self._max_open if self._state.scale is not None else self._num_workers
        if max_open is not None and num_open >= max_open:
            return None
        trial = self._left_behind() or self._new()
        if trial is not None:
            self._handed_out.add(trial.key)
            return {"trial": task(trial)}
        self.exhausted = self._plan.exhausted(self._state)
        return Searcher.FINISHED if self.exhausted else None

    def take_back(self, key: str) -> None:
        """A trial is to be handed out again: its process died."""
        self._handed_out.discard(key)

    def _left_behind(self) -> Trial | None:
        """A trial that an earlier driver, or a process that died, did not bring to its end."""
        waiting = (t for k, t in self._state.trials.items() if t.state == "waiting" and k not in self._handed_out)
        return next(waiting, None)

    def _new(self) -> Trial | None:
        trial = self._plan.next(self._state)
        if trial is not None:
            fields = ("arm", "role", "seed", "replicate", "number", "params", "weighting", "terms")
            self._journal.append("trial", trial=trial.key, **{name: getattr(trial, name) for name in fields})
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


def task(trial: Trial) -> dict[str, Any]:
    """What a worker is told of a trial."""
    return {
        "key": trial.key,
        "seed": trial.seed,
        "terms": trial.terms,
        "weighting": trial.weighting,
        "training": {name: trial.params[name] for name in (LEARNING_RATE,) if name in trial.params},
        "keep_model": trial.role != "search",
    }
