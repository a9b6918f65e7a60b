"""The journal: what was appended comes back, whatever happens to the file."""

import fcntl
import json
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.record.codec import from_plain
from study.record.folding import replay
from study.record.journal import Journal, JournalError, Stamped, read_events
from study.record.record import is_running, load_state
from tests.record.plain import append, complete

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def encoded(plain: dict) -> bytes:
    """A line of the journal, as any version of the program wrote it."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return json.dumps(plain | {"crc": f"{zlib.crc32(text.encode()):08x}"}, separators=(",", ":")).encode() + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def write(path: Path, num_events: int) -> None:
    with Journal(path, clock=lambda: 5.0) as journal:
        for number in range(num_events):
            append(journal, "note", text=f"event {number}")


@settings(max_examples=50)
@given(values=st.lists(VALUES, min_size=1, max_size=5))
def test_any_plain_value_comes_back_as_it_was(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    with Journal(path) as journal:
        for value in values:
            append(journal, "note", text=value)
    assert [stamped.event.text for stamped in read_events(path)] == values


def test_what_is_not_finite_is_null(path):
    with Journal(path) as journal:
        append(journal, "note", text={"psnr": float("inf"), "values": [float("nan"), 1.5]})
    assert next(read_events(path)).event.text == {"psnr": None, "values": [None, 1.5]}


def test_a_journal_cut_anywhere_loses_at_most_its_last_event_and_goes_on(path):
    write(path, 3)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        num_whole = sum(len(b"".join(lines[: n + 1])) <= size for n in range(3))
        assert len(list(read_events(path))) == num_whole
        with Journal(path, clock=lambda: 5.0) as journal:
            append(journal, "note", text="next")
        texts = [stamped.event.text for stamped in read_events(path)]
        assert texts == [f"event {n}" for n in range(num_whole)] + ["next"]


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(max_examples=200)
def test_a_changed_byte_is_noticed(tmp_path_factory, position, flip):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    write(path, 4)
    data = bytearray(path.read_bytes())
    position %= len(data)
    data[position] ^= flip
    path.write_bytes(bytes(data))
    if not data.endswith(b"\n"):  # only an end that is missing may be taken for a torn line
        assert [stamped.event.text for stamped in read_events(path)] == [f"event {n}" for n in range(3)]
        return
    with pytest.raises(JournalError, match="line"):
        list(read_events(path))


def test_two_drivers_cannot_write_one_journal(path):
    with Journal(path), pytest.raises(JournalError, match="another cov-study is running this study"):
        Journal(path)
    Journal(path).close()


def test_a_newer_schema_is_refused(path):
    write(path, 1)
    event = json.loads(path.read_text()) | {"v": 99}
    del event["crc"]
    path.write_bytes(encoded(event))
    with pytest.raises(JournalError, match="newer cov-study"):
        list(read_events(path))


def test_a_study_that_never_began_leaves_nothing_behind(tmp_path):
    Journal(tmp_path / "study" / "journal.jsonl").close()
    assert not (tmp_path / "study").exists()
    with pytest.raises(JournalError, match="no journal here"):
        load_state(tmp_path / "study")


# --- folding ----------------------------------------------------------------------------------------------------

COST = {
    "setup_seconds": 1.0,
    "train_seconds": 2.0,
    "eval_seconds": 0.5,
    "device_seconds": 4.0,
    "cpu_seconds": 3.0,
    "peak_bytes": 10,
    "energy_joules": None,
}
DEVICE = {"name": "cpu", "uuid": None, "node": "here"}


class Script:
    """Writes events at given times."""

    def __init__(self) -> None:
        self.events: list[Stamped] = []

    def __call__(self, now: float, kind: str, **fields) -> None:
        event = from_plain(kind, complete(kind, fields))
        self.events.append(Stamped(number=len(self.events), time=now, event=event))

    def trial(self, now: float, key: str = "cov-s1") -> None:
        self(now, "trial", trial=key, arm="cov", role="single", seed=1, replicate=None, number=None, params={},
             weighting={"name": "cov"}, terms=["l1"])  # fmt: skip

    def measure(
        self, now: float, epoch: int, attempt: int = 1, device_seconds: float = 4.0, psnr: float = 20.0
    ) -> None:
        self(now, "measurement", trial="cov-s1", attempt=attempt, epoch=epoch, step=epoch, metrics={"val/psnr": psnr},
             weights={"l1": 1.0}, cost=COST | {"device_seconds": device_seconds}, device=DEVICE)  # fmt: skip

    @property
    def state(self):
        return replay(self.events)


def test_an_attempt_is_charged_from_the_moment_its_device_was_taken():
    script = Script()
    script.trial(0)
    script(10, "attempt_started", trial="cov-s1", attempt=1, started=10, share=0.5)
    script.measure(12, 1, device_seconds=4.0)  # 4 device-seconds at half a device: taken 8 s ago, at 4
    script(20, "attempt_ended", trial="cov-s1", state="complete", cost=COST)
    trial = script.state.trials["cov-s1"]
    assert trial.attempts[0].started == 4
    assert trial.device_seconds == (20 - 4) * 0.5
    assert trial.state == "complete"


def test_a_crash_makes_a_second_attempt_and_both_are_paid():
    script = Script()
    script.trial(0)
    script(10, "attempt_started", trial="cov-s1", attempt=1, started=10, share=1)
    script.measure(14, 1)
    script(17, "heartbeat")
    script(100, "driver_started", pid=1, workers=1)
    assert script.state.trials["cov-s1"].state == "waiting"
    script(110, "attempt_started", trial="cov-s1", attempt=2, started=110, share=1)
    script.measure(111, 2, attempt=2, device_seconds=1.0)
    script(112, "attempt_ended", trial="cov-s1", state="complete", cost=COST)
    trial = script.state.trials["cov-s1"]
    assert [attempt.state for attempt in trial.attempts] == ["lost", "complete"]
    assert [attempt.device_seconds for attempt in trial.attempts] == [7, 2]
    assert [m.epoch for m in trial.measurements] == [1, 2]


def test_an_epoch_measured_again_supersedes_the_lost_one():
    script = Script()
    script.trial(0)
    script(0, "attempt_started", trial="cov-s1", attempt=1, started=0, share=1)
    for epoch in (1, 2, 3):
        script.measure(4 + epoch, epoch, psnr=epoch)
    script.measure(9, 2, psnr=7)
    assert [(m.epoch, m.metrics["val/psnr"]) for m in script.state.trials["cov-s1"].measurements] == [
        (1, 1),
        (2, 7),
    ]


# --- clocks -----------------------------------------------------------------------------------------------------


class Clocks:
    """A computer's clock, which somebody sets, and a timer, which only runs forward."""

    def __init__(self) -> None:
        self.time, self.seconds = 1_800_000_000.0, 70.0

    def pass_(self, seconds: float, step: float = 0.0) -> None:
        self.time += seconds + step
        self.seconds += seconds

    def journal(self, path: Path) -> Journal:
        return Journal(path, clock=lambda: self.time, timer=lambda: self.seconds)


TRIAL = {"arm": "cov", "role": "single", "seed": 1, "replicate": None, "number": None, "params": {},
         "weighting": {"name": "cov"}, "terms": ["l1"]}  # fmt: skip


def two_trials(path: Path, step: float, at: int):
    """One trial after another, 20 s each on half a device; the clock steps in second `at`."""
    clocks = Clocks()
    with clocks.journal(path) as journal:
        for second in range(42):
            clocks.pass_(1.0, step if second == at else 0.0)
            key, age = ("cov-s1", "cov-s2")[second // 21], second % 21
            if age == 0:
                append(journal, "trial", trial=key, **TRIAL)
                append(journal, "attempt_started", trial=key, attempt=1, started=clocks.time, share=0.5)
            elif age == 10:
                append(journal, "measurement", trial=key, attempt=1, epoch=1, step=1, metrics={}, weights={},
                               cost=COST | {"device_seconds": 5.5}, device=DEVICE)  # fmt: skip
            elif age == 20:
                append(journal, "attempt_ended", trial=key, state="complete")
            else:
                append(journal, "heartbeat")
    return load_state(path.parent)


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -1e6, 0.0])
@pytest.mark.parametrize("at", [0, 5, 10, 20, 21, 30])
def test_a_clock_that_is_set_changes_no_duration_no_cost_and_no_order(path, step, at):
    state = two_trials(path, step, at)
    # Taken a second before the driver heard of it, as the worker's own seconds say.
    assert [t.device_seconds for t in state.trials.values()] == [10.5, 10.5]
    first, second = (t.attempts[0] for t in state.trials.values())
    assert (second.started - first.started, second.ended - first.ended) == (21, 21)
    assert state.clock == 42
    # The label is what the clock said.
    assert second.ended_time == state.updated == 1_800_000_042 + step


def test_the_time_between_two_drivers_does_not_pass_for_the_study(path):
    clocks = Clocks()
    for hours in (10, 0):
        with clocks.journal(path) as journal:
            append(journal, "driver_started")
            clocks.pass_(30)
            append(journal, "heartbeat")
            clocks.pass_(2)
            append(journal, "driver_stopped")
        clocks.pass_(hours * 3600)
        clocks.seconds %= 5000  # and the machine was started anew
    assert [stamped.clock for stamped in read_events(path)] == [0, 30, 32, 32, 62, 64]


def test_a_journal_from_before_there_was_a_clock_goes_on_with_its_times(path):
    old = {"v": 1, "n": 0, "event": "attempt_started", "trial": "cov-s1", "attempt": 1, "started": 1000.0, "share": 1}
    trial = {"v": 1, "n": 0, "time": 999.0, "event": "trial", "trial": "cov-s1", **TRIAL}
    path.write_bytes(encoded(trial) + encoded(old | {"time": 1001.0}))
    clocks = Clocks()
    with clocks.journal(path) as journal:
        clocks.pass_(4)
        append(journal, "attempt_ended", trial="cov-s1", state="complete")
        (attempt,) = replay(journal.events()).trials["cov-s1"].attempts
    assert (attempt.started, attempt.ended) == (1000, 1005)
    assert (attempt.started_time, attempt.ended_time) == (1000, 1_800_000_004)


def test_who_asks_whether_a_study_runs_never_refuses_its_driver(path):
    """The question is the lock, shared and held for a moment: it fell into the moment in which a driver took it."""
    path.with_suffix(".lock").touch()
    with path.with_suffix(".lock").open("rb") as question:
        fcntl.flock(question, fcntl.LOCK_SH)
        answered = threading.Timer(0.3, fcntl.flock, (question, fcntl.LOCK_UN))
        answered.start()
        with Journal(path) as journal:
            assert is_running(path.parent)
            append(journal, "note", text="driven")
        answered.join()
    assert not is_running(path.parent)


def test_an_event_that_is_not_known_is_told(path):
    path.write_bytes(encoded({"v": 1, "n": 0, "time": 5.0, "event": "eclipse", "text": ""}))
    with pytest.raises(JournalError, match=r"event 0 \(`eclipse`\)"):
        list(read_events(path))
