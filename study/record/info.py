"""What a study is, as its journal's first event says it: read once, then typed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from search_spaces.arm import Range, strategy_by_name
from study.record.objective import Objective
from trainables.quantities import GOALS, Goal
from trainables.task import JSON

Document = Mapping[str, JSON]
_NAME_OF_SCAN = re.compile(r"(?P<pseudonym>subject-\d{3,})-scan-\d+|(?P<id>.+?)(?:_(?:ses|run|scan)-[^_]+)+")
"""How scans are called of subjects that have several, with pseudonyms and without."""


@dataclass(frozen=True, kw_only=True)
class ArmInfo:
    """An arm as it was planned."""

    name: str
    label: str
    role: str = ""
    """`fixed`, `tuned` or `automatic`; empty where the journal does not say."""
    strategy: str = ""
    """`single`, `equal`, `given`, `tuned`, `frozen` or the name of an automatic weighting: the name is free."""
    space: Mapping[str, Range] | None = None
    """Bounds of each dimension that it is searched in; None in a journal of an earlier version, or without a search."""
    sampler: str | None = None
    """Of a search."""
    is_pruned: bool = False
    """Whether its search stops trials that fall behind."""


@dataclass(frozen=True, kw_only=True)
class CohortInfo:
    """The images of a study; no identifiers."""

    num_subjects: int | None = None
    num_scans: int | None = None
    splits: Mapping[str, int] = field(default_factory=dict)
    simulated: bool = False
    digest: str | None = None
    provenance: Document = field(default_factory=dict)
    """How they were prepared."""


@dataclass(frozen=True, kw_only=True)
class StudyInfo:
    """What a study is."""

    document: Document = field(default_factory=dict)
    """All that the journal says of it, the resolved configuration under `config`."""

    @property
    def name(self) -> str:
        """As the page and MLflow show it."""
        return str(self.document.get("name") or "study")

    @cached_property
    def objective(self) -> Objective:
        """The metric that selects."""
        name = str(self.document.get("objective", "val/psnr")).removeprefix("val/")
        return Objective(name=name, goal=Goal(str(self.document.get("goal", "max"))))

    @cached_property
    def goals(self) -> Mapping[str, Goal]:
        """The metrics that are measured, and which way is better."""
        goals = _mapping(self.document.get("goals"))
        return {name: Goal(str(goal)) for name, goal in goals.items()} or GOALS

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the loss terms."""
        return _strings(self.document.get("terms"))

    @cached_property
    def arms(self) -> Mapping[str, ArmInfo]:
        """The arms by name, in the study's order."""
        planned = self.document.get("arms")
        entries = [_mapping(entry) for entry in planned] if isinstance(planned, Sequence) else []
        return {str(entry["name"]): self._arm(entry) for entry in entries}

    @cached_property
    def cohort(self) -> CohortInfo:
        """The images."""
        cohort = _mapping(self.document.get("cohort"))
        splits = _mapping(cohort.get("splits"))
        return CohortInfo(
            num_subjects=_count(cohort.get("num_subjects")),
            num_scans=_count(cohort.get("num_scans")),
            splits={name: size for name, size in splits.items() if isinstance(size, int)},
            simulated=cohort.get("simulated") is True,
            digest=str(cohort["digest"]) if "digest" in cohort else None,
            provenance=_mapping(cohort.get("provenance")),
        )

    @property
    def config(self) -> Document:
        """The resolved configuration as plain values; `study.settings` makes a `StudyConfig` of it."""
        return _mapping(self.document.get("config"))

    def subject_of(self, scan: str) -> str:
        """The subject of a scan, by the names that scores have; older journals tell it by the scan's name alone."""
        scans = self.document.get("scans")
        if isinstance(scans, Mapping):
            return str(scans.get(scan, scan))
        match = _NAME_OF_SCAN.fullmatch(scan)
        return scan if match is None else match["pseudonym"] or match["id"]

    def with_settings(self, values: Document) -> "StudyInfo":
        """The same study with other values of some keys (`resources.workers`) of its configuration."""
        config = self.config
        for key, value in values.items():
            config = _with(config, key.split("."), value)
        return StudyInfo(document={**self.document, "config": config}) if values else self

    def setting(self, *path: str) -> JSON:
        """The value at a place of the configuration, None where there is none."""
        value: JSON = self.config
        for key in path:
            value = _mapping(value).get(key)
        return value

    @property
    def components(self) -> Mapping[str, JSON]:
        """Where each user-defined component came from."""
        return _mapping(self.document.get("parts"))

    @property
    def versions(self) -> Mapping[str, str]:
        """Of Python and of the packages that matter for the numbers."""
        return {name: str(version) for name, version in _mapping(self.document.get("versions")).items()}

    @property
    def hardware(self) -> Document:
        """The driver's machine, and what the cluster offered."""
        return _mapping(self.document.get("hardware"))

    @property
    def git_revision(self) -> str | None:
        """Of the checkout that the study was begun with."""
        revision = self.document.get("git_revision")
        return str(revision) if revision else None

    def _strategy(self, arm: str) -> str:
        """Of a journal of an earlier version, which says only a name and a role: it follows from the configuration."""
        settings = _mapping(self.setting("arms"))
        if arm.startswith("single-") and arm not in settings:
            return "single"
        return str(_mapping(settings.get(arm)).get("strategy") or strategy_by_name(arm))

    def _arm(self, entry: Document) -> ArmInfo:
        name = str(entry["name"])
        sampler = self.setting("arms", name, "sampler")
        space = entry.get("space")
        return ArmInfo(
            name=name,
            role=str(entry.get("role", "")),
            label=str(entry.get("label") or name),
            strategy=str(entry.get("strategy") or self._strategy(name)),
            space={n: _range(_mapping(b)) for n, b in space.items()} if isinstance(space, Mapping) else None,
            sampler=None if sampler is None else str(sampler),
            is_pruned=bool(self.setting("arms", name, "pruner")),
        )


def _range(bounds: Document) -> Range:
    return Range(low=_number(bounds["low"]), high=_number(bounds["high"]), log=bounds.get("log") is True)


def _number(value: JSON) -> float:
    if not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _with(values: Document, path: Sequence[str], value: JSON) -> Document:
    """The same values, but for the one at a path."""
    first, *rest = path
    return {**values, first: _with(_mapping(values.get(first)), rest, value) if rest else value}


def _count(value: JSON) -> int | None:
    return value if isinstance(value, int) else None


def _mapping(value: JSON) -> Document:
    return value if isinstance(value, Mapping) else {}


def _strings(value: JSON) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else ()
