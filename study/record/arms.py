"""What the journal keeps of an arm, and the space it was searched in."""

from collections.abc import Mapping
from dataclasses import asdict

from search_spaces.arm import Arm, Range
from search_spaces.learning_rate import NAME as LEARNING_RATE
from search_spaces.tuned import space
from study.record.state import StudyState
from trainables.task import JSON


def describe_arm(arm: Arm) -> dict[str, JSON]:
    """Name, role and strategy, and the bounds of what is searched: what the journal keeps of an arm."""
    described: dict[str, JSON] = {"name": arm.name, "role": arm.role, "strategy": arm.strategy}
    if arm.search is not None:
        described["space"] = {name: asdict(bounds) for name, bounds in arm.search.space.items()}
    return described


def space_of(state: StudyState, arm: str) -> Mapping[str, Range]:
    """The bounds of each dimension that the arm is searched in, empty for one that is not searched.

    Journals of before do not say them: there they are those that the program has always had, and the configuration's.
    """
    info = state.info.arms.get(arm)
    if info is not None and info.space is not None:
        return info.space
    known = dict(space(state.info.terms))
    low, high = (state.info.setting("tune_learning_rate", end) for end in ("low", "high"))
    if isinstance(low, float) and isinstance(high, float):
        known[LEARNING_RATE] = Range(low=low, high=high, log=True)
    tried = {name: None for trial in state.of_arm(arm) if trial.role == "search" for name in trial.params}
    return {name: known[name] for name in tried if name in known}
