"""What is paid is what was held, whatever came of it."""

import csv
from pathlib import Path

import pytest
from fake_study import FakeStudy

from study.record.journal import Journal
from study.record.ledger import LEDGER_COLUMNS, paid, write_ledger
from study.record.record import load_state
from tests.record.plain import append


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lost_and_found(tmp_path: Path) -> Path:
    """One trial: lost after 10 s on half a device, taken up again, complete after 20 s more."""
    clock = Clock()
    device = {"name": "GPU", "uuid": "u", "node": "n"}
    metrics = {"val/psnr": 20.0, "val/ssim": 0.5, "val/rmse": None}
    with Journal(tmp_path / "journal.jsonl", clock=clock, timer=clock) as journal:

        def say(seconds: float, kind: str, **fields: object) -> None:
            clock.now = 100.0 + seconds
            append(journal, kind, **fields)

        def measure(seconds: float, attempt: int, epoch: int, psnr: float, held: float, cpu: float) -> None:
            cost = {"device_seconds": held, "cpu_seconds": cpu, "peak_bytes": 7 * epoch, "energy_joules": None}
            fields = {"epoch": epoch, "step": 10 * epoch, "weights": {"a": 0.25, "b": 0.75}, "cost": cost}
            values = metrics | {"val/psnr": psnr}
            say(seconds, "measurement", trial="k", attempt=attempt, device=device, metrics=values, **fields)

        say(0, "study", objective="val/psnr", goal="max", terms=["a", "b"], arms=[{"name": "tuned", "role": "tuned"}])
        identity = {"arm": "tuned", "role": "search", "seed": 3, "replicate": 0, "number": 0}
        say(0, "trial", trial="k", **identity, params={"log_ratio/b": 1.0}, weighting={}, terms=["a", "b"])
        say(0, "attempt_started", trial="k", attempt=1, started=100.0, share=0.5)
        measure(8, 1, 1, 22.0, 4.0, 3.0)
        say(10, "attempt_ended", trial="k", state="lost", ended=110.0, retry=True, reason="node gone")
        say(50, "attempt_started", trial="k", attempt=2, started=150.0, share=0.5)
        measure(65, 2, 2, 21.0, 7.5, 5.0)
        say(70, "scores", trial="k", scores={"s1": {"mask": {"psnr": 30.0}}, "s2": {"mask": {"psnr": 32.0}}})
        say(70, "attempt_ended", trial="k", state="complete", ended=170.0, retry=False, cost=None)
        say(70, "finished")
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_lost_attempts_are_paid_for(lost_and_found: Path) -> None:
    state = load_state(lost_and_found)
    assert paid(state, "tuned") == {"search": 15.0, "confirmation": 0.0, "training": 0.0, "total": 15.0}
    assert paid(state, "nobody")["total"] == 0.0
    write_ledger(state, lost_and_found)
    ledger = rows(lost_and_found / "ledger.csv")
    assert list(ledger[0]) == list(LEDGER_COLUMNS)
    assert [(r["state"], float(r["device_seconds"]), r["peak_bytes"]) for r in ledger] == [
        ("lost", 5.0, "7"),
        ("complete", 10.0, "14"),
    ]
    assert {r["device"] for r in ledger} == {"GPU"}


def test_a_trial_is_one_row_with_the_kept_model_and_summed_costs(lost_and_found: Path) -> None:
    write_ledger(load_state(lost_and_found), lost_and_found)
    (trial,) = rows(lost_and_found / "trials.csv")
    assert (trial["arm"], trial["seed"], trial["state"], trial["step"]) == ("tuned", "3", "complete", "10")
    assert (trial["val/psnr"], trial["val/rmse"], trial["test/psnr"]) == ("22.0", "", "31.0")
    assert (trial["weight/b"], trial["param/log_ratio/b"]) == ("0.75", "1.0")
    assert trial["cost/num_attempts"] == "2"
    assert (float(trial["cost/device_seconds"]), float(trial["cost/cpu_seconds"])) == (15.0, 8.0)
    assert (trial["cost/peak_bytes"], trial["cost/energy_joules"]) == ("14", "")


def test_subjects_are_long_form(lost_and_found: Path) -> None:
    write_ledger(load_state(lost_and_found), lost_and_found)
    first = rows(lost_and_found / "subjects.csv")[0]
    expected = {"trial": "k", "arm": "tuned", "seed": "3", "subject": "s1", "scan": "", "split": "test"}
    assert first == expected | {"region": "mask", "metric": "psnr", "value": "30.0"}


def test_arms_add_up_to_all_attempts(whole: Path) -> None:
    state = load_state(whole)
    total = sum(paid(state, arm)["total"] for arm in state.info.arms)
    assert total == pytest.approx(sum(float(r["device_seconds"]) for r in rows(whole / "ledger.csv")))
    assert len(rows(whole / "trials.csv")) == len(state.trials)
    # 2 baselines and every trial, 24 subjects each: 3 metrics in mask and volume, 18 of them with a lesion.
    assert len(rows(whole / "subjects.csv")) == (2 + len(state.trials)) * (24 * 6 + 18 * 3)


def test_a_running_attempt_is_paid_up_to_the_last_sign_of_life(tmp_path: Path) -> None:
    directory = FakeStudy(num_trials=1, images=False).write(tmp_path / "s")
    lines = (directory / "journal.jsonl").read_bytes().splitlines(keepends=True)
    ends = [i for i, line in enumerate(lines) if b'"attempt_ended"' in line]
    (directory / "journal.jsonl").write_bytes(b"".join(lines[: ends[0]]))
    state = load_state(directory)
    running = [trial for trial in state.trials.values() if trial.state == "running"]
    assert len(running) == 2
    assert all(200 < trial.device_seconds < 260 for trial in running)


def test_no_half_file_is_left(whole: Path) -> None:
    assert not [path.name for path in whole.iterdir() if path.name.endswith(".tmp")]
