"""Arms x replicates become trials: which one is next, and what each waits for."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from search_spaces.arm import Arm, Weights
from study.planning.replicate import Replicate, mean_weights
from study.record.events import SearchEnded, TrialSpec
from study.record.objective import Objective
from study.record.state import StudyState
from trainables.quantities import Goal


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
        goals: Mapping[str, Goal],
        storage: Path | None,
    ) -> None:
        self.arms, self.goals = list(arms), goals
        self.replicates = [
            Replicate(arm, arm.search, r, seed=seed, objective=objective, goals=goals, storage=storage)
            for arm in arms
            if arm.search
            for r in range(arm.search.replicates)
        ]

    def next(self, state: StudyState) -> TrialSpec | None:
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

    def endings(self, state: StudyState) -> list[SearchEnded]:
        """Searches that are over and not yet written down as such. One may let another go on, or end: ask again."""
        over = [ending for replicate in self.replicates if (ending := replicate.ending(state))]
        if over or state.open_arms or self.next(state) is not None:
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
        return not state.open_arms & awaited and not (state.open_arms and searching)

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

    def _references(self, state: StudyState) -> Iterator[TrialSpec]:
        """A training whose cost or quality bounds a search goes first; where it fails, that of the next seed."""
        budgets = [replicate.plan.budget for replicate in self.replicates]
        names = {budget.reference for budget in budgets if budget.needs_reference}
        for arm in self.arms:
            if arm.name in names and not state.complete(arm.name) and arm.name not in state.open_arms:
                yield from self._of_arm(arm, state)

    def _searches(self, state: StudyState) -> Iterator[TrialSpec]:
        # The replicate that has come least far goes first, so that none holds up the end.
        for replicate in sorted(self.replicates, key=lambda r: len(r.trials(state))):
            if trial := replicate.next(state):
                yield trial

    def _confirmations(self, state: StudyState) -> Iterator[TrialSpec]:
        for replicate in self.replicates:
            search = state.searches.get((replicate.arm.name, replicate.number))
            if search is None or search.incumbent is None:
                continue
            incumbent = state.trials[search.incumbent].spec
            for seed in replicate.plan.confirm_seeds:
                key = f"{search.arm}-r{search.replicate}-confirm-s{seed}"
                if key not in state.trials:
                    yield TrialSpec(
                        key=key,
                        arm=search.arm,
                        role="confirmation",
                        seed=seed,
                        replicate=search.replicate,
                        params=incumbent.params,
                        weighting=incumbent.weighting,
                        terms=incumbent.terms,
                    )

    def _singles(self, state: StudyState) -> Iterator[TrialSpec]:
        # Longest first: more terms cost more, and a short trial leaves the shorter tail.
        for arm in sorted(self.arms, key=lambda arm: -len(arm.terms)):
            yield from self._of_arm(arm, state)

    def _of_arm(self, arm: Arm, state: StudyState) -> Iterator[TrialSpec]:
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
            yield TrialSpec(
                key=key,
                arm=arm.name,
                role="single",
                seed=seed,
                weighting=arm.make_weighting({}, inputs),
                terms=arm.terms,
            )
