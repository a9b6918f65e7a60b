"""How far a study has come: its arms in a row each, and the seconds that are left."""

from collections.abc import Sequence
from dataclasses import dataclass

from study.planning.plan import Plan
from study.record.state import StudyState, Trial, TrialState

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


@dataclass(frozen=True, kw_only=True)
class ArmStanding:
    """How far an arm has come."""

    arm: str
    planned: int | None
    """Trials in all; None where a budget other than a number of trials decides."""
    done: int
    running: int
    failed: int
    pruned: int
    best: float | None
    """Best validated objective."""
    incumbent: str | None
    """Key of the trial that measured it."""
    device_seconds: float


def arm_standings(state: StudyState, plan: Plan) -> list[ArmStanding]:
    """How far each arm has come, in the study's order."""
    return [_standing(arm.name, state, plan.num_trials_of(arm)) for arm in plan.arms]


def _standing(arm: str, state: StudyState, planned: int | None) -> ArmStanding:
    trials = state.of_arm(arm)
    # A confirmation is the incumbent trained again, not a rival of it.
    best = state.objective.incumbent([trial for trial in trials if trial.role != "confirmation"])
    return ArmStanding(
        arm=arm,
        planned=planned,
        done=sum(trial.state in ENDED for trial in trials),
        running=_count(trials, TrialState.RUNNING),
        failed=_count(trials, TrialState.FAILED),
        pruned=_count(trials, TrialState.PRUNED),
        best=None if best is None else state.objective.value(best),
        incumbent=None if best is None else best.key,
        device_seconds=sum(trial.device_seconds for trial in trials),
    )


def seconds_left(state: StudyState, plan: Plan, workers: int) -> float | None:
    """Seconds until the plan is done, from what finished trials took; None while that is unknown."""
    trials = state.trials.values()
    done = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if not done or plan.num_trials is None:
        return None
    mean_seconds = sum((t.attempts[-1].ended or 0) - t.attempts[-1].started for t in done) / len(done)
    closed = sum(trial.state in ENDED for trial in trials)
    spent = sum(
        min(mean_seconds, state.clock - trial.attempts[-1].started)
        for trial in trials
        if trial.state is TrialState.RUNNING
    )
    return max(0.0, (plan.num_trials - closed) * mean_seconds - spent) / workers


def _count(trials: Sequence[Trial], state: TrialState) -> int:
    return sum(trial.state is state for trial in trials)
