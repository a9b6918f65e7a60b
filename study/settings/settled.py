"""The configuration that counts is the journal's: an edit of `study.yaml` is refused, taken up, or left."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from study.record.events import Document
from study.record.info import StudyInfo
from study.settings.reading import validate
from study.settings.schema import StudyConfig
from study.settings.yaml_files import read_yaml, write_yaml
from trainables.errors import UserError
from trainables.task import JSON

CONFIG = "study.yaml"
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

_NOTHING = "\0"
"""Stands for a key that is not there."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One key that is not in `study.yaml` as it is in the journal."""

    key: str
    begun: JSON
    now: JSON

    @property
    def fate(self) -> Fate:
        """What becomes of it."""
        return next(fate for key, fate in FATES.items() if f"{self.key}.".startswith(f"{key}."))

    def __str__(self) -> str:
        return f"`{self.key}` is {_shown(self.now)} and was {_shown(self.begun)} when the study began"


def begun_config(directory: Path, info: StudyInfo) -> StudyConfig:
    """The configuration with which a study was begun, and what drivers have taken up since."""
    return validate(info.config, str(directory / "journal.jsonl"))


def settle(directory: Path, info: StudyInfo, say: Callable[[str], None]) -> Document:
    """Which keys of an edited `study.yaml` a study goes on with, and their values.

    Args:
        directory: the study's.
        info: what its journal says.
        say: told what is taken up and what is not.

    Raises:
        UserError: `study.yaml` was edited so that results would change, or is no configuration any more.
    """
    path = directory / CONFIG
    written = _read(path)
    if written is None:
        say(f"{path}: is missing or damaged; the study goes on as its journal says, and the file is written anew")
        return {}
    edits = _edits(begun_config(directory, info), validate(written["config"], str(path)))
    if refused := [str(edit) for edit in edits if edit.fate == "refused"]:
        raise UserError(
            f"{path}: {', '.join(refused)}; that would change results. Put it back, or start a new study with "
            f"another --out."
        )
    for edit in edits:
        say(f"{path}: {edit}: {'taken up' if edit.fate == 'taken up' else 'not taken up'}")
    for line in _edited_facts(path, written, info.document):
        say(line)
    return {edit.key: edit.now for edit in edits if edit.fate == "taken up"}


def edits_left(directory: Path, info: StudyInfo) -> list[str]:
    """A line for everything in `study.yaml` that is not so in the journal, where nothing is taken up."""
    path = directory / CONFIG
    written = _read(path)
    if written is None or not info.config:
        return []
    try:
        edits = _edits(begun_config(directory, info), validate(written["config"], str(path)))
    except UserError as error:
        return [f"{str(error).rstrip('.')}: not taken up"]
    resumed = {"taken up": "taken up by `cov-study resume`", "left": "not taken up", "refused": "not taken up"}
    lines = [f"{path}: {edit}: {resumed[edit.fate]}" for edit in edits]
    return lines + _edited_facts(path, written, info.document)


def write_study(directory: Path, document: Document, tracking: Mapping[str, str] | None = None) -> None:
    """Writes `study.yaml` as the journal has it. `tracking`: where runs are mirrored to, by default as it stood.

    Which scan is whose stays out: MLflow gets the file, and it has names where there are no pseudonyms.
    """
    path = directory / CONFIG
    shown = {name: value for name, value in document.items() if name != "scans"}
    write_yaml(path, {**shown, "tracking": tracking or (_read(path) or {}).get("tracking")})


def _read(path: Path) -> dict[str, Any] | None:
    """What stands in `study.yaml` (Any: a person may have written anything); None if it is missing or damaged."""
    try:
        values = read_yaml(path, if_absent="")
    except UserError:
        return None
    return dict(values) if isinstance(values, Mapping) and isinstance(values.get("config"), Mapping) else None


def _edits(begun: StudyConfig, now: StudyConfig) -> list[Edit]:
    """Both are validated, so that what an earlier version did not write down has its default."""
    return list(_differences(_plain(begun.model_dump(mode="json")), _plain(now.model_dump(mode="json")), ""))


def _differences(begun: JSON, now: JSON, key: str) -> Iterator[Edit]:
    if isinstance(begun, Mapping) and isinstance(now, Mapping):
        for name in {**begun, **now}:
            inner = f"{key}.{name}" if key else name
            yield from _differences(begun.get(name, _NOTHING), now.get(name, _NOTHING), inner)
    elif begun != now:
        yield Edit(key=key, begun=begun, now=now)


def _edited_facts(path: Path, written: Document, document: Document) -> list[str]:
    """What `study.yaml` tells of a study beside its configuration is not read from there."""
    facts = [name for name in document if name in written and name != "config"]
    return [
        f"{path}: {edit}: not taken up"
        for name in facts
        for edit in _differences(_plain(document[name]), _plain(written[name]), name)
    ]


def _plain(values: JSON) -> JSON:
    """As the journal would have it, where no number is infinite."""
    plain: JSON = json.loads(json.dumps(values, default=str), parse_constant=lambda name: None)
    return plain


def _shown(value: JSON) -> str:
    if value in (_NOTHING, None):
        return "not set"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
