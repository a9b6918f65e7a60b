"""One search of an arm: which point is next, when it has fallen behind, and when its budget is spent."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from search_spaces.arm import Arm, SearchPlan, Weights
from search_spaces.budget import NUM_FAILURES, Reference, Spending
from search_spaces.search import OptunaSearch
from study.record.events import SearchEnded, TrialSpec
from study.record.objective import Objective
from study.record.state import StudyState, Trial, TrialState
from trainables.quantities import Goal


class Replicate:
    """One search of an arm: its Optuna study, replayed from the trials the journal holds."""

    def __init__(
        self,
        arm: Arm,
        search: SearchPlan,
        number: int,
        *,
        seed: int,
        objective: Objective,
        goals: Mapping[str, Goal],
        storage: Path | None,
    ) -> None:
        self.arm, self.plan, self.number = arm, search, number
        self.training_seed = seed + number
        self._objective = objective
        self._storage, self._goals = storage, [goals[metric] for metric in search.objectives]

    @cached_property
    def _search(self) -> OptunaSearch:
        # Made when a point is asked for: whoever only looks at a plan does not wait for Optuna.
        name = f"{self.arm.name}-r{self.number}"
        return OptunaSearch(
            self.plan,
            name=name,
            seed=self.training_seed,
            storage=self._storage / f"{name}.journal" if self._storage else None,
            goals=self._goals,
        )

    def trials(self, state: StudyState) -> list[Trial]:
        """Its trials so far, by number."""
        return [t for t in state.trials.values() if (t.arm, t.replicate, t.role) == (*self._id, "search")]

    @property
    def _id(self) -> tuple[str, int]:
        return self.arm.name, self.number

    def ended(self, state: StudyState) -> bool:
        """Whether its end is written down."""
        return self._id in state.searches

    def next(self, state: StudyState) -> TrialSpec | None:
        """The next trial, None while it must wait or when the budget is spent."""
        if self.ended(state):
            return None
        trials = self.trials(state)
        number = len(trials)
        known = trials[: self._num_known(number)]
        if any(t.state.is_open for t in known) or self._over(state, trials):
            return None
        if self._failing(trials) or self._awaits_reference(state, number):
            return None
        key = f"{self.arm.name}-r{self.number}-t{number:03d}"
        if number == 0 and self.arm.waits_for is None:
            return self._trial(key, number, self.plan.first_point(None), {})
        inputs = self._inputs(state)
        if inputs is None:
            return None
        self._catch_up(trials, inputs)
        return self._trial(key, number, self._ask(number, key, inputs), inputs)

    def _inputs(self, state: StudyState) -> Weights | None:
        """What the arm makes its weightings from, None while it is not known: the terms' initial scale, or the mean
        weights of the incumbent that the awaited arm's search found."""
        if self.arm.waits_for is None:
            return state.scale
        awaited = state.searches.get((self.arm.waits_for, self.number))
        if awaited is None or awaited.incumbent is None:
            return None
        return mean_weights(state.trials[awaited.incumbent])

    def _ask(self, number: int, key: str, inputs: Weights) -> dict[str, float]:
        def describe(params: dict[str, float]) -> dict[str, Any]:
            return {"key": key, "weights": self.arm.make_weighting(params, inputs).get("weights")}

        return self._search.ask(number, first=self.plan.first_point(inputs), describe=describe)

    def _trial(self, key: str, number: int, params: dict[str, float], inputs: Weights) -> TrialSpec:
        return TrialSpec(
            key=key,
            arm=self.arm.name,
            role="search",
            seed=self.training_seed,
            replicate=self.number,
            number=number,
            params=params,
            weighting=self.arm.make_weighting(params, inputs),
            terms=self.plan.terms,
        )

    def _catch_up(self, trials: Sequence[Trial], inputs: Weights) -> None:
        """Asks and tells, in the one order there is, what the journal knows and this process does not yet."""
        for number in range(self._search.num_asked, len(trials)):
            self._tell(trials[: self._num_known(number)])
            self._ask(number, trials[number].key, inputs)
        self._tell(trials[: self._num_known(len(trials))])

    def _tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials[self._search.num_told :]:
            best = self._objective.best(trial) if trial.state == "complete" else None
            measured = [best.metrics[f"val/{m}"] for m in self.plan.objectives] if best else [None]
            values = [value for value in measured if value is not None]
            reports = {rung: value for rung, value in self._at_rungs(trial).items() if value is not None}
            told = values if len(values) == len(measured) else None
            self._search.tell(told, pruned=trial.state == "pruned", reports=reports)

    def fallen_behind(self, state: StudyState, trial: Trial) -> int | None:
        """The rung (epoch) at which a running trial falls behind, None while it does not.

        Its rivals are the trials that its own point could know, by number. They have all ended: the verdict depends
        on the journal alone, neither on the number of workers nor on who is fast.
        """
        if self.plan.halving is None:
            return None
        rivals = self.trials(state)[: self._num_known(trial.number or 0)]
        values = self._at_rungs(trial)
        for rung, value in values.items():
            others = [v for rival in rivals if (v := self._at_rungs(rival).get(rung)) is not None]
            if value is None or not self.plan.halving.promotes(value, others, goal=self._objective.goal):
                return rung
        return None

    def _at_rungs(self, trial: Trial) -> dict[int, float | None]:
        """Rung -> best validated value by then, of the rungs that a trial has reached."""
        reached = max((m.epoch for m in trial.measurements), default=0)
        rungs = self.plan.halving.rungs if self.plan.halving else ()
        return {rung: self._objective.value(trial, until=rung) for rung in rungs if rung <= reached}

    def _num_known(self, number: int) -> int:
        """How many trials of the search have ended when trial `number` begins, whoever is fast."""
        return max(0, number - self.plan.parallel + 1)

    def ending(self, state: StudyState, *, stuck: bool = False) -> SearchEnded | None:
        """How the search ended: its budget is spent and its last trial done, or it is `stuck`, and what it waits for
        can't come any more."""
        trials = self.trials(state)
        if self.ended(state) or any(t.state.is_open for t in trials):
            return None
        spent = self._over(state, trials)
        reason = spent or self._failing(trials) or (self._missing(state, len(trials)) if stuck else None)
        if reason is None:
            return None
        inputs = self._inputs(state)
        if inputs is not None:
            self._catch_up(trials, inputs)
            self._tell(trials)
        incumbent = self._objective.incumbent(trials)
        return SearchEnded(
            arm=self.arm.name,
            replicate=self.number,
            incumbent=incumbent.key if incumbent else None,
            reason=reason,
            given_up=spent is None,
        )

    def _failing(self, trials: Sequence[Trial]) -> str | None:
        """Why the search is given up, None while its trials do not fail, as far as the next one may know."""
        last = trials[: self._num_known(len(trials))][-NUM_FAILURES:]
        failing = len(last) == NUM_FAILURES and all(trial.state is TrialState.FAILED for trial in last)
        return f"{NUM_FAILURES} trials failed one after another" if failing else None

    def _awaits_reference(self, state: StudyState, number: int) -> bool:
        """Whether trial `number` must wait until one training of the reference is complete: a search whose budget is a
        multiple of its cost begins beside it, with no more trials than may be in flight."""
        budget = self.plan.budget
        return budget.times_cov is not None and number >= self.plan.parallel and not state.complete(budget.reference)

    def _missing(self, state: StudyState, number: int) -> str:
        """What trial `number` waits for."""
        if self._awaits_reference(state, number):
            return f"no training of {self.plan.budget.reference}, of whose cost the budget is a multiple, was completed"
        if self.arm.waits_for is not None:
            return f"{self.arm.waits_for}, whose weights it takes, has no incumbent"
        return "the trial that tells the initial value of the loss terms failed"

    def _over(self, state: StudyState, trials: Sequence[Trial]) -> str | None:
        """Why the budget is spent, None while it is not."""
        began = trials[0].attempts[0].started if trials and trials[0].attempts else state.clock
        spending = Spending(
            num_trials=len(trials),
            device_seconds=sum(trial.device_seconds for trial in trials),
            wall_seconds=state.clock - began,
            best=self._worth(self._objective.incumbent(trials)),
        )
        return self.plan.budget.spent(spending, self._reference(state))

    def _reference(self, state: StudyState) -> Reference | None:
        """The trainings that the budget is measured against, once one of them is complete."""
        done = state.complete(self.plan.budget.reference)
        if not done or not self.plan.budget.needs_reference:
            return None
        # Of a reference that is itself searched, the best trial counts.
        judged = [t for t in done if t.role != "search"] or [self._objective.incumbent(done) or done[0]]
        return Reference(
            device_seconds=sum(trial.device_seconds for trial in done) / len(done),
            value=sum(self._worth(trial) or 0.0 for trial in judged) / len(judged),
        )

    def _worth(self, trial: Trial | None) -> float | None:
        """Best validated objective, larger is better."""
        value = None if trial is None else self._objective.value(trial)
        return None if value is None else self._objective.goal.sign * value


def mean_weights(trial: Trial) -> dict[str, float]:
    """Weights of a finished training averaged over its steps (each epoch has equally many)."""
    rows = [measurement.weights for measurement in trial.measurements]
    return {term: sum(row[term] for row in rows) / len(rows) for term in trial.terms}
