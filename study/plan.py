"""Arms x replicates become trials: which one is next, and what each waits for."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from search_spaces.arm import Arm, Budget, SearchPlan, Weights
from search_spaces.search import OptunaSearch
from study.objective import Objective
from study.state import OPEN_STATES, Search, StudyState, Trial

NUM_FAILURES = 20
"""So many trials of a search that failed one after another end it: they may cost next to nothing, and no limit in hours
would ever be reached."""


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
        goals: Mapping[str, str],
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

    def next(self, state: StudyState) -> Trial | None:
        """The next trial, None while it must wait or when the budget is spent."""
        if self.ended(state):
            return None
        trials = self.trials(state)
        number = len(trials)
        known = trials[: self._num_known(number)]
        if any(t.state in OPEN_STATES for t in known) or self._over(state, trials):
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

    def _trial(self, key: str, number: int, params: dict[str, Any], inputs: Weights) -> Trial:
        return Trial(
            key=key,
            arm=self.arm.name,
            role="search",
            seed=self.training_seed,
            replicate=self.number,
            number=number,
            params=params,
            weighting=self.arm.make_weighting(params, inputs),
            terms=list(self.plan.terms),
        )

    def _catch_up(self, trials: Sequence[Trial], inputs: Weights) -> None:
        """Asks and tells, in the one order there is, what the journal knows and this process does not yet."""
        for number in range(self._search.num_asked, len(trials)):
            self._tell(trials[: self._num_known(number)])
            self._ask(number, trials[number].key, inputs)
        self._tell(trials[: self._num_known(len(trials))])

    def _tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials[self._search.num_told :]:
            best = trial.best(self._objective.key, self._objective.goal) if trial.state == "complete" else None
            values = [best["metrics"][f"val/{m}"] for m in self.plan.objectives] if best else None
            reports = {rung: value for rung, value in self._at_rungs(trial).items() if value is not None}
            self._search.tell(values, pruned=trial.state == "pruned", reports=reports)

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
        reached = max((m["epoch"] for m in trial.measurements), default=0)
        rungs = self.plan.halving.rungs if self.plan.halving else ()
        return {rung: self._objective.value(trial, until=rung) for rung in rungs if rung <= reached}

    def _num_known(self, number: int) -> int:
        """How many trials of the search have ended when trial `number` begins, whoever is fast."""
        return max(0, number - self.plan.parallel + 1)

    def ending(self, state: StudyState, *, stuck: bool = False) -> Search | None:
        """How the search ended: its budget is spent and its last trial done, or it is `stuck`, and what it waits for
        can't come any more."""
        trials = self.trials(state)
        if self.ended(state) or any(t.state in OPEN_STATES for t in trials):
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
        return Search(
            arm=self.arm.name,
            replicate=self.number,
            incumbent=incumbent.key if incumbent else None,
            reason=reason,
            given_up=spent is None,
        )

    def _failing(self, trials: Sequence[Trial]) -> str | None:
        """Why the search is given up, None while its trials do not fail, as far as the next one may know."""
        last = trials[: self._num_known(len(trials))][-NUM_FAILURES:]
        failing = len(last) == NUM_FAILURES and all(trial.state == "failed" for trial in last)
        return f"{NUM_FAILURES} trials failed one after another" if failing else None

    def _awaits_reference(self, state: StudyState, number: int) -> bool:
        """Whether trial `number` must wait until one training of the reference is complete: a search whose budget is a
        multiple of its cost begins beside it, with no more trials than may be in flight."""
        budget = self.plan.budget
        return budget.times_cov is not None and number >= self.plan.parallel and not _complete(state, budget.reference)

    def _missing(self, state: StudyState, number: int) -> str:
        """What trial `number` waits for."""
        if self._awaits_reference(state, number):
            return f"no training of {self.plan.budget.reference}, of whose cost the budget is a multiple, was completed"
        if self.arm.waits_for is not None:
            return f"{self.arm.waits_for}, whose weights it takes, has no incumbent"
        return "the trial that tells the initial value of the loss terms failed"

    def _over(self, state: StudyState, trials: Sequence[Trial]) -> str | None:
        """Why the budget is spent, None while it is not."""
        budget = self.plan.budget
        seconds = sum(trial.device_seconds for trial in trials)
        if budget.trials is not None and len(trials) >= budget.trials:
            return f"{budget.trials} trials"
        if budget.device_hours is not None and seconds >= budget.device_hours * 3600:
            return f"{budget.device_hours:g} device-hours"
        began = trials[0].attempts[0].started if trials and trials[0].attempts else math.inf
        if budget.wall_hours is not None and state.clock - began >= budget.wall_hours * 3600:
            return f"{budget.wall_hours:g} hours of wall-clock"
        return self._over_reference(state, trials, budget, seconds)

    def _over_reference(self, state: StudyState, trials: Sequence[Trial], budget: Budget, seconds: float) -> str | None:
        """Limits that are measured against the trainings of the reference arm, once one of them is complete."""
        done = _complete(state, budget.reference)
        if not done:
            return None
        mean_seconds = sum(trial.device_seconds for trial in done) / len(done)
        if budget.times_cov is not None and seconds >= budget.times_cov * mean_seconds:
            return f"{budget.times_cov:g} times the cost of one {budget.reference} training"
        incumbent = self._objective.incumbent(trials)
        if budget.stop_when_beaten is not None and incumbent is not None:
            sign = 1 if self._objective.goal == "max" else -1
            # Of a reference that is itself searched, the best trial counts.
            judged = [t for t in done if t.role != "search"] or [self._objective.incumbent(done) or done[0]]
            values = [self._objective.value(t) or 0.0 for t in judged]
            gain = sign * ((self._objective.value(incumbent) or 0.0) - sum(values) / len(values))
            if gain > budget.stop_when_beaten:
                return f"the incumbent beats {budget.reference} by more than {budget.stop_when_beaten:g} on validation"
        return None


class Plan:
    """All trials of a study: what is done is in the state, what is next is asked here.

    Searches come first, since confirmations wait for them; single trials fill every gap that they leave.

    Args:
        arms: in order.
        seed: of the searches.
        objective: selects.
        goals: `max` or `min` of every metric.
        storage: folder for Optuna's files; None keeps them in memory.
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        *,
        seed: int,
        objective: Objective,
        goals: Mapping[str, str],
        storage: Path | None,
    ) -> None:
        self.arms, self.goals = list(arms), goals
        self.replicates = [
            Replicate(arm, arm.search, r, seed=seed, objective=objective, goals=goals, storage=storage)
            for arm in arms
            if arm.search
            for r in range(arm.search.replicates)
        ]

    def next(self, state: StudyState) -> Trial | None:
        """The next new trial; None when there is none to start now."""
        candidates = [
            self._references(state),
            self._searches(state),
            self._confirmations(state),
            self._singles(state),
        ]
        return next((trial for source in candidates for trial in source), None)

    def fallen_behind(self, state: StudyState, key: str) -> int | None:
        """The epoch at which a running trial has fallen behind the others of its search; None if it goes on."""
        trial = state.trials[key]
        searched = {(replicate.arm.name, replicate.number): replicate for replicate in self.replicates}
        replicate = searched.get((trial.arm, trial.replicate or 0)) if trial.role == "search" else None
        return replicate.fallen_behind(state, trial) if replicate else None

    def endings(self, state: StudyState) -> list[Search]:
        """Searches that are over and not yet written down as such. One may let another go on, or end: ask again."""
        over = [ending for replicate in self.replicates if (ending := replicate.ending(state))]
        if over or _open_arms(state) or self.next(state) is not None:
            return over
        # Nothing runs and nothing can: whatever these searches wait for doesn't come.
        return [ending for replicate in self.replicates if (ending := replicate.ending(state, stuck=True))]

    def exhausted(self, state: StudyState) -> bool:
        """Whether no new trial can come any more, whatever the running ones bring."""
        if self.next(state) is not None or self.endings(state):
            return False
        # A search may wait for any of the others: the terms' scale, its reference, its weights.
        searching = not all(replicate.ended(state) for replicate in self.replicates)
        awaited = {arm.waits_for for arm in self.arms if len(state.of_arm(arm.name)) < len(arm.seeds)}
        open_arms = _open_arms(state)
        return not open_arms & awaited and not (open_arms and searching)

    @property
    def num_trials(self) -> int | None:
        """Trials of the whole plan, None where a budget other than a number of trials decides."""
        counts = [self.num_trials_of(arm) for arm in self.arms]
        return None if None in counts else sum(count or 0 for count in counts)

    def num_trials_of(self, arm: Arm) -> int | None:
        """Trials of an arm, None where a budget other than a number of trials decides."""
        if arm.search is None:
            return len(arm.seeds)
        trials = arm.search.budget.trials
        return trials and arm.search.replicates * (trials + len(arm.search.confirm_seeds))

    @property
    def scale_seed(self) -> int:
        """Training seed whose first batch sets the terms' scale: that of the plan's first trial."""
        if self.replicates:
            return self.replicates[0].training_seed
        return self.arms[0].seeds[0]

    def _references(self, state: StudyState) -> Iterator[Trial]:
        """A training whose cost or quality bounds a search goes first; where it fails, that of the next seed."""
        names = {
            r.plan.budget.reference
            for r in self.replicates
            if r.plan.budget.times_cov or r.plan.budget.stop_when_beaten is not None
        }
        for arm in self.arms:
            if arm.name in names and not _complete(state, arm.name) and arm.name not in _open_arms(state):
                yield from self._of_arm(arm, state)

    def _searches(self, state: StudyState) -> Iterator[Trial]:
        # The replicate that has come least far goes first, so that none holds up the end.
        for replicate in sorted(self.replicates, key=lambda r: len(r.trials(state))):
            if trial := replicate.next(state):
                yield trial

    def _confirmations(self, state: StudyState) -> Iterator[Trial]:
        for replicate in self.replicates:
            search = state.searches.get((replicate.arm.name, replicate.number))
            if search is None or search.incumbent is None:
                continue
            incumbent = state.trials[search.incumbent]
            for seed in replicate.plan.confirm_seeds:
                key = f"{search.arm}-r{search.replicate}-confirm-s{seed}"
                if key not in state.trials:
                    yield Trial(
                        key=key,
                        arm=search.arm,
                        role="confirmation",
                        seed=seed,
                        replicate=search.replicate,
                        params=incumbent.params,
                        weighting=incumbent.weighting,
                        terms=incumbent.terms,
                    )

    def _singles(self, state: StudyState) -> Iterator[Trial]:
        # Longest first: more terms cost more, and a short trial leaves the shorter tail.
        for arm in sorted(self.arms, key=lambda arm: -len(arm.terms)):
            yield from self._of_arm(arm, state)

    def _of_arm(self, arm: Arm, state: StudyState) -> Iterator[Trial]:
        for seed in arm.seeds:
            key = f"{arm.name}-s{seed}"
            if key in state.trials:
                continue
            inputs: Weights = state.scale or {}
            if arm.waits_for is not None:
                awaited = state.trials.get(f"{arm.waits_for}-s{seed}")
                if awaited is None or awaited.state != "complete":
                    continue
                inputs = mean_weights(awaited)
            yield Trial(
                key=key,
                arm=arm.name,
                role="single",
                seed=seed,
                weighting=arm.make_weighting({}, inputs),
                terms=list(arm.terms),
            )


def _complete(state: StudyState, arm: str) -> list[Trial]:
    return [trial for trial in state.of_arm(arm) if trial.state == "complete"]


def _open_arms(state: StudyState) -> set[str]:
    """Arms of which a trial runs or waits."""
    return {trial.arm for trial in state.trials.values() if trial.state in OPEN_STATES}


def mean_weights(trial: Trial) -> dict[str, float]:
    """Weights of a finished training averaged over its steps (each epoch has equally many)."""
    rows = [measurement["weights"] for measurement in trial.measurements]
    return {term: sum(row[term] for row in rows) / len(rows) for term in trial.terms}
