"""Finds pairs in a manifest: a CSV file with a row a pair."""

from collections import Counter
from pathlib import Path

from trainables.cohort.subjects import Cohort, Subject
from trainables.cohort.tables import check_split, read_table, refuse_other_split, require_columns
from trainables.errors import UserError

COLUMNS = ("subject", "source", "target", "mask", "lesion", "split", "group")


def find_manifest(path: Path) -> Cohort:
    """Finds the pairs of a manifest; relative paths are relative to its folder.

    Raises:
        UserError: a column is missing or looks misspelt, or a row cannot be followed.
    """
    rows = read_table(path)
    if rows:
        refuse_other_split(path, {column: [row[column] for row in rows] for column in rows[0]})
    require_columns(path, rows, COLUMNS[:3], COLUMNS)
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
    return Cohort(root=path.parent, subjects=tuple(subjects))
