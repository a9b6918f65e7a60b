"""The journal as plain values, for tests that write or read its lines themselves."""

import json
from pathlib import Path
from typing import Any

from study.record.codec import from_plain
from study.record.journal import Journal, Stamped
from study.record.record import Record
from trainables.meter import Cost

NOTHING = {item: None if item == "energy_joules" else 0 for item in Cost.__dataclass_fields__}


def append(journal: Journal | Record, kind: str, **fields: Any) -> Stamped | None:
    """Writes one event."""
    return journal.append(from_plain(kind, complete(kind, fields)))


def stamped(kind: str, time: float, **fields: Any) -> Stamped:
    """An event that happened at `time`, as a journal from before there was a clock has it."""
    return Stamped(number=0, time=time, event=from_plain(kind, complete(kind, fields)))


def complete(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """What a test leaves out, since it does not matter there."""
    if kind == "trial":
        return {"replicate": None, "number": None, "params": {}, "weighting": {}, "terms": [], **fields}
    if kind == "driver_started":
        return {"pid": 1, **fields}
    if kind == "driver_stopped":
        return {"reason": "", **fields}
    if fields.get("cost"):
        return {**fields, "cost": NOTHING | fields["cost"]}
    return fields


def read_plain(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal that may not be there yet, or be in the writing."""
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines]
