"""Events as plain values and back: what stands in a line of the journal beside its number and time."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any, get_args

from study.record.events import (
    AttemptEnded,
    DriverStarted,
    Event,
    Measured,
    StudyBegun,
    TrialPlanned,
    TrialSpec,
)
from trainables.meter import Cost
from trainables.proof import Code
from trainables.task import Device, Measurement

Plain = dict[str, Any]  # type: ignore[explicit-any]  # as `json.loads` returns it: `from_plain` gives it types
KINDS: Mapping[str, type[Event]] = {kind.kind: kind for kind in get_args(Event)}
"""Name of an event in the journal -> its class."""
_SPEC = tuple(name.name for name in fields(TrialSpec) if name.name != "key")
_MEASUREMENT = tuple(name.name for name in fields(Measurement))


def to_plain(event: Event) -> Plain:
    """The event's fields as plain values. A field that holds its default is left out."""
    match event:
        case StudyBegun():
            return dict(event.document)
        case TrialPlanned():
            return {"trial": event.spec.key} | {name: getattr(event.spec, name) for name in _SPEC}
        case Measured():
            head = {"trial": event.trial, "attempt": event.attempt, "device": asdict(event.device)}
            return head | asdict(event.measurement)
    plain = {
        item.name: getattr(event, item.name)
        for item in fields(event)
        if item.default is MISSING or getattr(event, item.name) != item.default
    }
    if isinstance(event, DriverStarted) and event.versions is not None:
        # A driver outside a checkout has no revision; who wrote the others down wrote that, too.
        plain = {item.name: getattr(event, item.name) for item in fields(event)}
    if isinstance(event, DriverStarted) and event.code is not None:
        plain["code"] = asdict(event.code)
    if isinstance(event, AttemptEnded):
        # Where the worker told how it ended, a cost that it could not count stands as null.
        plain |= {"cost": event.cost and asdict(event.cost)} if event.cost or event.retry is None else {}
    return plain


def from_plain(kind: str, plain: Plain) -> Event:
    """The event that `to_plain` took apart. Keys that this program does not know are passed over.

    Raises:
        KeyError: there is no such kind of event, or a field is missing.
    """
    found = KINDS[kind]
    if found is StudyBegun:
        return StudyBegun(document=plain)
    if found is TrialPlanned:
        known = {name: plain[name] for name in _SPEC} | {"terms": tuple(plain["terms"])}
        return TrialPlanned(spec=TrialSpec(key=plain["trial"], **known))
    if found is Measured:
        measured = {name: plain[name] for name in _MEASUREMENT} | {"cost": _cost(plain["cost"])}
        return Measured(
            trial=plain["trial"],
            attempt=plain["attempt"],
            device=Device(**plain["device"]),
            measurement=Measurement(**measured),
        )
    values = {
        item.name: plain[item.name]
        for item in fields(found)
        if item.name in plain or item.default is MISSING  # a KeyError names what is missing
    }
    if found is DriverStarted and values.get("code"):
        values["code"] = Code(**values["code"])
    if found is AttemptEnded:
        values["cost"] = _cost(values.get("cost"))
    return found(**values)


def _cost(plain: Plain | None) -> Cost | None:
    return Cost(**plain) if plain else None
