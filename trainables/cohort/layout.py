"""Finds the pairs of a cohort: in a BIDS tree by the ends of file names, or in a CSV manifest."""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from trainables.cohort.config import CohortConfig
from trainables.cohort.manifest import check_split, read_participants, read_table, require_columns
from trainables.cohort.problems import Problem
from trainables.errors import UserError

_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_FREE = ("ses", "run")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One pair of images; a subject scanned more than once has several, told apart by `scan`."""

    id: str
    source: Path
    target: Path
    mask: Path | None = None
    lesion: Path | None = None
    split: str | None = None
    group: str | None = None
    scan: str = ""

    @property
    def label(self) -> str:
        """Id and scan, as shown inside the cohort's own folder."""
        return f"{self.id} {self.scan}".strip()


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Pairs in the order of their ids, and what hindered others from being found."""

    root: Path
    subjects: tuple[Subject, ...]
    problems: tuple[Problem, ...] = ()
    name: str = ""
    simulated: bool = False


def find_cohort(path: Path, config: CohortConfig) -> Cohort:
    """Finds the pairs of a BIDS tree (a folder) or of a manifest (a CSV file).

    Raises:
        UserError: nothing fits, or a table is malformed. Single subjects' faults are in `Cohort.problems`.
    """
    path = Path(path)
    if path.is_dir():
        return _find_bids(path, config)
    if path.is_file():
        return _find_manifest(path)
    raise UserError(f"{path}: no such cohort; give a BIDS folder or a CSV manifest with subject,source,target")


# Manifest


def _find_manifest(path: Path) -> Cohort:
    columns = ("subject", "source", "target", "mask", "lesion", "split", "group")
    rows = read_table(path)
    require_columns(path, rows, columns[:3], columns)
    subjects: list[Subject] = []
    counts = Counter(row["subject"] for row in rows)
    seen: Counter[str] = Counter()
    for number, row in enumerate(rows, 1):
        name = row["subject"]
        if not name or not row["source"] or not row["target"]:
            raise UserError(f"{path}: pair {number} lacks its subject, source or target; fill the cell or drop the row")
        seen[name] += 1

        def file(column: str, row: dict[str, str] = row) -> Path | None:
            return path.parent / row[column] if row.get(column) else None

        subjects.append(
            Subject(
                id=name,
                source=path.parent / row["source"],
                target=path.parent / row["target"],
                mask=file("mask"),
                lesion=file("lesion"),
                split=check_split(path, name, row.get("split", "")),
                group=row.get("group") or None,
                scan=f"scan-{seen[name]}" if counts[name] > 1 else "",
            )
        )
    if "split" in rows[0]:
        unset = [subject.id for subject in subjects if subject.split is None]
        if unset:
            raise UserError(f"{path}: {unset[0]} has no split; fill the column in every row, or drop it")
    subjects.sort(key=lambda subject: (subject.id, subject.scan))
    return Cohort(root=path.parent, subjects=tuple(subjects), **_describe(path.parent))


# BIDS


@dataclass(frozen=True)
class _Name:
    """A BIDS file name taken apart: sub-01_acq-early_T1w -> {sub: 01, acq: early}, T1w."""

    entities: dict[str, str]
    suffix: str

    @classmethod
    def parse(cls, stem: str) -> "_Name":
        *parts, suffix = _NIFTI.sub("", stem).strip("_ ").split("_")
        pairs = (part.partition("-") for part in parts)
        return cls({key: value for key, _, value in pairs}, suffix)

    def fits(self, pattern: "_Name") -> bool:
        own = {
            key: value for key, value in self.entities.items() if key in pattern.entities or key not in ("sub", *_FREE)
        }
        return (
            fnmatchcase(self.suffix, pattern.suffix)
            and own.keys() == pattern.entities.keys()
            and all(fnmatchcase(own[key], value) for key, value in pattern.entities.items())
        )

    def scan(self, free: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        return tuple((key, self.entities[key]) for key in free if key in self.entities)


@dataclass(frozen=True)
class _File:
    path: Path
    name: _Name


def _find_bids(root: Path, config: CohortConfig) -> Cohort:
    files: dict[str, list[_File]] = defaultdict(list)
    for file in _walk(root):
        files[f"sub-{file.name.entities['sub']}"].append(file)
    patterns = {
        "source": _Name.parse(config.source_pattern),
        "target": _Name.parse(config.target_pattern),
        "mask": _Name.parse(config.mask_pattern),
        "lesion": _Name.parse(config.lesion_pattern),
    }
    participants = read_participants(root)
    subjects: list[Subject] = []
    problems: list[Problem] = []
    for name in sorted(files):
        row = participants.get(name, {})
        try:
            for scan, roles in _pair(name, files[name], patterns, config):
                subjects.append(
                    Subject(
                        id=name,
                        scan=scan,
                        split=row.get("split") or None,
                        group=row.get("group") or None,
                        **roles,
                    )
                )
        except UserError as error:
            problems.append(Problem(subject=name, message=str(error)))
    if not subjects:
        example = f"; for instance, {problems[0].message}" if problems else ""
        raise UserError(_nothing_found(root, config, files) + example)
    with_split = [subject for subject in subjects if subject.split]
    if with_split and len(with_split) < len(subjects):
        lacking = next(subject.id for subject in subjects if not subject.split)
        raise UserError(
            f"{root / 'participants.tsv'}: {lacking} has no split while others have; fill the column "
            f"for all, or drop it"
        )
    return Cohort(root=root, subjects=tuple(subjects), problems=tuple(problems), **_describe(root))


def _walk(root: Path) -> Iterator[_File]:
    """Images of the subjects: the tree's own first, then those of its derivatives."""
    for top in (root, *sorted((root / "derivatives").glob("*"))):
        for folder in sorted(top.glob("sub-*")):
            for where, folders, names in os.walk(folder, onerror=_refuse_folder):
                folders.sort()
                for name in sorted(names):
                    parsed = _Name.parse(name)
                    if _NIFTI.search(name) and name.startswith("sub-") and parsed.entities.get("sub"):
                        yield _File(Path(where) / name, parsed)


def _refuse_folder(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be listed ({error.strerror}); check its permissions") from error


def _pair(
    subject: str, files: list[_File], patterns: dict[str, _Name], config: CohortConfig
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pairs the files of one subject: a source and a target of the same session and run, and their masks."""
    named = patterns["source"].entities.keys() | patterns["target"].entities.keys()
    free = tuple(key for key in _FREE if key not in named)
    found = {role: [file for file in files if file.name.fits(pattern)] for role, pattern in patterns.items()}
    scans = sorted({file.name.scan(free) for role in ("source", "target") for file in found[role]})
    for scan in scans:
        roles: dict[str, Any] = {}
        for role in ("source", "target"):
            here = [file.path for file in found[role] if file.name.scan(free) == scan]
            label = "_".join("-".join(pair) for pair in scan)
            where = f"{subject} {label}".strip()
            if not here:
                pattern = config.source_pattern if role == "source" else config.target_pattern
                raise UserError(
                    f"{where}: no {role} (*_{pattern}.nii[.gz]) for the other image; add it, or list the "
                    f"wanted pairs in a manifest"
                )
            if len(here) > 1:
                raise UserError(f"{where}: two files can be the {role}, {here[0]} and {here[1]}; use a manifest")
            roles[role] = here[0]
        for role in ("mask", "lesion"):
            fitting = [file for file in found[role] if set(file.name.scan(free)) <= set(scan)]
            if fitting:
                most = max(len(file.name.scan(free)) for file in fitting)
                best = [file.path for file in fitting if len(file.name.scan(free)) == most]
                if len(best) > 1:
                    raise UserError(f"{where}: two files can be the {role} mask, {best[0]} and {best[1]}; keep one")
                roles[role] = best[0]
        yield label if len(scans) > 1 else "", roles


def _nothing_found(root: Path, config: CohortConfig, files: dict[str, list[_File]]) -> str:
    looked = f"sub-*_{config.source_pattern}.nii[.gz] and sub-*_{config.target_pattern}.nii[.gz]"
    ends = Counter(
        "_".join([*(f"{k}-{v}" for k, v in f.name.entities.items() if k not in ("sub", *_FREE)), f.name.suffix])
        for group in files.values()
        for f in group
    )
    if ends:
        there = ", ".join(f"{end} ({count})" for end, count in ends.most_common(6))
        hint = "set source_pattern and target_pattern"
        return f"{root}: no pair found; looked for {looked}; there are {there}: {hint}"
    tables = sorted(entry.name for entry in root.glob("*.[ct]sv") if entry.name != "participants.tsv")
    if tables:
        return f"{root}: no sub-* folder with NIfTI files; if {tables[0]} is a manifest, give its path instead"
    there = ", ".join(sorted(entry.name for entry in root.iterdir())[:6]) or "nothing"
    return f"{root}: no sub-* folder with NIfTI files; looked for {looked}; there is {there}"


def _describe(root: Path) -> dict:
    """Name and origin from dataset_description.json, where there is one."""
    try:
        description = json.loads((root / "dataset_description.json").read_text(encoding="utf-8"))
        return {"name": str(description.get("Name", "")), "simulated": description.get("Simulated") is True}
    except (OSError, ValueError, AttributeError):
        return {}
