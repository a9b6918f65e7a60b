"""Finds pairs in a BIDS tree by the ends of file names: entities in any order, and a suffix."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from trainables.cohort.config import CohortConfig
from trainables.cohort.problems import Problem
from trainables.cohort.subjects import Cohort, Subject
from trainables.cohort.tables import check_split, peek, read_table, refuse_other_split, require_columns
from trainables.cohort.tree import NIFTI, walk
from trainables.errors import UserError

_FREE = ("ses", "run")


@dataclass(frozen=True)
class _Name:
    """A BIDS file name taken apart: sub-01_acq-early_T1w -> {sub: 01, acq: early}, T1w."""

    entities: dict[str, str]
    suffix: str

    @classmethod
    def parse(cls, stem: str) -> "_Name":
        *parts, suffix = NIFTI.sub("", stem).strip("_ ").split("_")
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


def find_bids(root: Path, config: CohortConfig) -> Cohort:
    """Finds the pairs of a BIDS tree, along links, also among its derivatives.

    `participants.tsv` may give splits and groups.

    Raises:
        UserError: nothing fits, or participants.tsv cannot be followed.
    """
    problems: list[Problem] = []
    files = _by_subject(root, problems)
    patterns = {
        "source": _Name.parse(config.source_pattern),
        "target": _Name.parse(config.target_pattern),
        "mask": _Name.parse(config.mask_pattern),
        "lesion": _Name.parse(config.lesion_pattern),
    }
    table = root / "participants.tsv"
    participants = _participants(table)
    subjects: list[Subject] = []
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
    _check_ids(table, participants, {subject.id for subject in subjects}, files)
    with_split = [subject for subject in subjects if subject.split]
    if with_split and len(with_split) < len(subjects):
        lacking = next(subject.id for subject in subjects if not subject.split)
        raise UserError(f"{table}: {lacking} has no split while others have; fill the column for all, or drop it")
    named = {one.id for one in subjects} | {problem.subject for problem in problems}
    left_out = tuple(_left_out(root, files, named))
    return Cohort(root=root, subjects=tuple(subjects), problems=tuple(problems), left_out=left_out)


def find_sources(root: Path, config: CohortConfig) -> list[tuple[Path, Path | None]]:
    """The sources of a BIDS tree, whether or not they have targets, each with its mask if there is one.

    Raises:
        UserError: nothing fits, a link leads nowhere, or two files can be the same image.
    """
    broken: list[Problem] = []
    files = _by_subject(root, broken)
    if broken:
        raise UserError(broken[0].message)
    patterns = {"source": _Name.parse(config.source_pattern), "mask": _Name.parse(config.mask_pattern)}
    found = [
        (roles["source"], roles.get("mask"))
        for name in sorted(files)
        for _, roles in _pair(name, files[name], patterns, config)
    ]
    if not found:
        raise UserError(f"{root}: no source found; looked for sub-*_{config.source_pattern}.nii[.gz]")
    return found


def _by_subject(root: Path, broken: list[Problem]) -> dict[str, list[_File]]:
    """The images of each subject, which their names tell; links that lead nowhere go to `broken`."""
    files: dict[str, list[_File]] = defaultdict(list)
    for path in walk(root, broken):
        name = _Name.parse(path.name)
        if name.entities.get("sub"):
            files[f"sub-{name.entities['sub']}"].append(_File(path, name))
    return files


def _left_out(root: Path, files: dict[str, list[_File]], named: set[str]) -> Iterator[Problem]:
    """What looks like a subject in the tree and is not among those that are named, with what it holds."""
    for entry in sorted(root.iterdir()):
        if entry.name in named or not entry.name.lower().startswith("sub"):
            continue
        if entry.is_dir() and not entry.name.startswith("sub-"):
            message = "is not called sub-<id>, and was not looked into"
        elif entry.is_dir():
            held = _ends(files.get(entry.name, []))
            message = f"holds no pair, but {held}" if held else "holds no image named sub-*.nii[.gz]"
        elif NIFTI.search(entry.name):
            message = "lies in no subject's folder"
        else:
            continue
        yield Problem(subject=entry.name, message=message)


def _ends(files: Iterable[_File]) -> str:
    """The commonest ends of names, with how many have each; '' without files."""
    ends = Counter(
        "_".join([*(f"{k}-{v}" for k, v in f.name.entities.items() if k not in ("sub", *_FREE)), f.name.suffix])
        for f in files
    )
    return ", ".join(f"{end} ({count})" for end, count in ends.most_common(6))


def _pair(
    subject: str, files: list[_File], patterns: dict[str, _Name], config: CohortConfig
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pairs the files of one subject: a source and a target of the same session and run, and their masks.

    Roles without a pattern are not looked for.
    """
    images: list[str] = [role for role in ("source", "target") if role in patterns]
    masks: list[str] = [role for role in ("mask", "lesion") if role in patterns]
    named = {key for role in images for key in patterns[role].entities}
    free = tuple(key for key in _FREE if key not in named)
    found = {role: [file for file in files if file.name.fits(pattern)] for role, pattern in patterns.items()}
    scans = sorted({file.name.scan(free) for role in images for file in found[role]})
    for scan in scans:
        roles: dict[str, Any] = {}
        for role in images:
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
        for role in masks:
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
    if there := _ends(file for group in files.values() for file in group):
        hint = "set source_pattern and target_pattern"
        return f"{root}: no pair found; looked for {looked}; there are {there}: {hint}"
    tables = sorted(entry.name for entry in root.glob("*.[ct]sv") if entry.name != "participants.tsv")
    if tables:
        return f"{root}: no sub-* folder with NIfTI files; if {tables[0]} is a manifest, give its path instead"
    there = ", ".join(sorted(entry.name for entry in root.iterdir())[:6]) or "nothing"
    return f"{root}: no sub-* folder with NIfTI files; looked for {looked}; there is {there}"


def _participants(path: Path) -> dict[str, dict[str, str]]:
    """`split` and `group` of each participant_id (`sub-` added where missing); empty where the table gives neither.

    Raises:
        UserError: the table gives a split or groups, and cannot be followed.
    """
    if not os.path.lexists(path):
        return {}
    columns = peek(path)
    refuse_other_split(path, columns)
    used = [name for name in ("split", "group") if name in columns]
    if not used:
        return {}
    rows = read_table(path)
    require_columns(path, rows, ("participant_id",), ("participant_id",))
    participants: dict[str, dict[str, str]] = {}
    for row in rows:
        written = row["participant_id"]
        name = written if written.startswith("sub-") else f"sub-{written}"
        check_split(path, name, row.get("split", ""))
        known = participants.setdefault(name, {"participant_id": written})
        for column in used:
            values = sorted({known.get(column, ""), row[column]} - {""})
            if len(values) > 1:
                raise UserError(
                    f"{path}: {name} has rows that differ in {column}: {' and '.join(values)}; make them agree"
                )
            known[column] = "".join(values)
    given = any(row[column] for row in participants.values() for column in used)
    return participants if given else {}


def _check_ids(path: Path, participants: dict[str, dict[str, str]], found: set[str], folders: Iterable[str]) -> None:
    """Refuses a table that lacks a subject: its split, or whose sibling it is, would be lost unseen."""
    lacking = sorted(found - participants.keys())
    if not participants or not lacking:
        return
    others = sorted(participants[name]["participant_id"] for name in participants.keys() - set(folders))
    rows = f"rows without a folder are {_some(others)}" if others else f"its rows are {_some(sorted(participants))}"
    raise UserError(
        f"{path}: no row for {_some(lacking)}; {rows}; write the folders' names into participant_id, or drop the "
        f"columns split and group"
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
