"""What an arm of a study is, by its journal: its name is free, its strategy is not."""

from dataclasses import asdict
from typing import Any

from search_spaces.arm import Arm, Range, strategy_by_name
from search_spaces.learning_rate import NAME as LEARNING_RATE
from search_spaces.tuned import space
from study.state import StudyState


def describe_arm(arm: Arm) -> dict[str, Any]:
    """Name, role and strategy, and the bounds of what is searched: what the journal keeps of an arm."""
    described: dict[str, Any] = {"name": arm.name, "role": arm.role, "strategy": arm.strategy}
    if arm.search is not None:
        described["space"] = {name: asdict(bounds) for name, bounds in arm.search.space.items()}
    return described


def strategy_of(state: StudyState, arm: str) -> str:
    """`single`, `equal`, `given`, `tuned`, `frozen` or the name of an automatic weighting.

    Journals of before say only a name and a role: there it follows from the configuration.
    """
    said = _described(state, arm).get("strategy")
    if said:
        return str(said)
    settings = _config(state).get("arms") or {}
    if arm.startswith("single-") and arm not in settings:
        return "single"
    return str((settings.get(arm) or {}).get("strategy") or strategy_by_name(arm))


def space_of(state: StudyState, arm: str) -> dict[str, Range]:
    """The bounds of each dimension that the arm is searched in, empty for one that is not searched.

    Journals of before do not say them: there they are those that the program has always had, and the configuration's.
    """
    described = _described(state, arm)
    if "space" in described:
        return {name: Range(**bounds) for name, bounds in described["space"].items()}
    known = space(state.info.get("terms") or [])
    if rates := _config(state).get("tune_learning_rate"):
        known[LEARNING_RATE] = Range(low=rates["low"], high=rates["high"], log=True)
    tried = {name: None for trial in state.of_arm(arm) if trial.role == "search" for name in trial.params}
    return {name: known[name] for name in tried if name in known}


def _described(state: StudyState, arm: str) -> dict[str, Any]:
    return next((each for each in state.info.get("arms", []) if each["name"] == arm), {})


def _config(state: StudyState) -> dict[str, Any]:
    return state.info.get("config") or {}
