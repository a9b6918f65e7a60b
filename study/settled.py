"""The configuration that counts is the journal's: an edit of `study.yaml` is refused, taken up, or left."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from study.config import StudyConfig, validate
from study.state import StudyState
from trainables.errors import UserError

Fate = Literal["refused", "taken up", "left"]

FATES: Mapping[str, Fate] = {
    "name": "left",
    "seed": "refused",
    "seeds": "refused",
    "objective": "refused",
    "metrics": "refused",
    "terms": "refused",
    "cohort.path": "taken up",  # images may move; that they are the same is seen by their digest
    "cohort.virtual": "refused",
    "cohort.prepare": "refused",
    "training": "refused",
    "arms": "refused",
    "tune_learning_rate": "refused",
    "resources.workers": "taken up",
    "resources.cpus_per_trial": "refused",  # threads of an operation, and what a second costs
    "resources.gpus_per_trial": "refused",
    "resources.max_retries": "taken up",
    "resources.reuse_actors": "taken up",
    "report.margin": "left",  # it is written down before there are results
    "report.images": "taken up",
    "module_path": "taken up",  # where code lies; that it is the same is seen by its digest
}
"""What becomes of an edit, by key or by what its key begins with. A key is refused where it could change a result."""

NOTHING = object()


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One key that is not in `study.yaml` as it is in the journal."""

    key: str
    begun: Any
    now: Any

    @property
    def fate(self) -> Fate:
        """What becomes of it."""
        return next(fate for key, fate in FATES.items() if f"{self.key}.".startswith(f"{key}."))

    def __str__(self) -> str:
        return f"`{self.key}` is {_shown(self.now)} and was {_shown(self.begun)} when the study began"


def settle(directory: Path, state: StudyState, say: Callable[[str], None]) -> tuple[StudyConfig, dict[str, Any]]:
    """The configuration with which a study goes on, and which of its keys are taken up from `study.yaml`.

    Args:
        directory: the study's.
        state: folded from its journal; its configuration becomes the one that is returned.
        say: told what is taken up and what is not.

    Raises:
        UserError: `study.yaml` was edited so that results would change, or is no configuration any more.
    """
    path = directory / "study.yaml"
    begun = _begun(directory, state)
    written = _read(path)
    if written is None:
        say(f"{path}: is missing or damaged; the study goes on as its journal says, and the file is written anew")
        return begun, {}
    edits = _edits(begun, validate(written["config"], str(path)))
    if refused := [str(edit) for edit in edits if edit.fate == "refused"]:
        raise UserError(
            f"{path}: {', '.join(refused)}; that would change results. Put it back, or start a new study with "
            f"another --out."
        )
    for edit in edits:
        say(f"{path}: {edit}: {'taken up' if edit.fate == 'taken up' else 'not taken up'}")
    for line in _edited_facts(path, written, state.info):
        say(line)
    taken_up = {edit.key: edit.now for edit in edits if edit.fate == "taken up"}
    state.take_up(taken_up)
    return _begun(directory, state), taken_up


def edits_left(directory: Path, state: StudyState) -> list[str]:
    """A line for everything in `study.yaml` that is not so in the journal, where nothing is taken up."""
    path = directory / "study.yaml"
    written = _read(path)
    if written is None or "config" not in state.info:
        return []
    try:
        edits = _edits(_begun(directory, state), validate(written["config"], str(path)))
    except UserError as error:
        return [f"{str(error).rstrip('.')}: not taken up"]
    resumed = {"taken up": "taken up by `cov-study resume`", "left": "not taken up", "refused": "not taken up"}
    return [f"{path}: {edit}: {resumed[edit.fate]}" for edit in edits] + _edited_facts(path, written, state.info)


def write_study(directory: Path, info: Mapping[str, Any], tracking: Mapping[str, Any] | None = None) -> None:
    """Writes `study.yaml` as the journal has it. `tracking`: where runs are mirrored to, by default as it stood.

    Which scan is whose stays out: MLflow gets the file, and it has names where there are no pseudonyms.
    """
    path = directory / "study.yaml"
    values = {
        **{name: value for name, value in info.items() if name != "scans"},
        "tracking": tracking or (_read(path) or {}).get("tracking"),
    }
    beside = path.with_suffix(".tmp")
    beside.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
    os.replace(beside, path)


def _begun(directory: Path, state: StudyState) -> StudyConfig:
    return validate(state.info["config"], str(directory / "journal.jsonl"))


def _read(path: Path) -> dict[str, Any] | None:
    """What stands in `study.yaml`; None if it is missing or damaged."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return values if isinstance(values, dict) and isinstance(values.get("config"), dict) else None


def _edits(begun: StudyConfig, now: StudyConfig) -> list[Edit]:
    """Both are validated, so that what an earlier version did not write down has its default."""
    return list(_differences(_plain(begun.model_dump(mode="json")), _plain(now.model_dump(mode="json")), ""))


def _differences(begun: Any, now: Any, key: str) -> Iterator[Edit]:
    if isinstance(begun, dict) and isinstance(now, dict):
        for name in {**begun, **now}:
            inner = f"{key}.{name}" if key else name
            yield from _differences(begun.get(name, NOTHING), now.get(name, NOTHING), inner)
    elif begun != now:
        yield Edit(key=key, begun=begun, now=now)


def _edited_facts(path: Path, written: Mapping[str, Any], info: Mapping[str, Any]) -> list[str]:
    """What `study.yaml` tells of a study beside its configuration is not read from there."""
    facts = [name for name in info if name in written and name != "config"]
    return [
        f"{path}: {edit}: not taken up"
        for name in facts
        for edit in _differences(_plain(info[name]), _plain(written[name]), name)
    ]


def _plain(values: Any) -> Any:
    """As the journal would have it, where no number is infinite."""
    return json.loads(json.dumps(values, default=str), parse_constant=lambda name: None)


def _shown(value: Any) -> str:
    if value is NOTHING or value is None:
        return "not set"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
