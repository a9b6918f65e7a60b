"""A study that searches in every way there is, through the installed command."""

import csv
import json

import pytest

from study.record.record import load_state
from tests.commands.command import cov_study
from tests.record.plain import read_plain

pytestmark = pytest.mark.slow

ARMS = """{
  cov: {seeds: 2},
  cov-frozen: {},
  tuned: {budget: {trials: 3}, objectives: [psnr, ssim]},
  tuned-asha: {budget: {trials: 4}, parallel: 1, sampler: random, pruner: {reduction: 2}},
}"""
RATES = "tune_learning_rate={low: 1.0e-4, high: 1.0e-2, budget: {trials: 2}}"
SHORT = ("-o", "training.epochs=4", "-o", "training.steps_per_epoch=10", "-o", "training.schedule=constant")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The finished study. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("searches")
    (folder / "mlflow.yml").write_text("tracking: {mirror: none}\n")
    arguments = ("run", "--preset", "smoke", "--out", "study", "-o", f"arms={ARMS}", "-o", RATES, *SHORT)
    done = cov_study(*arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "study"


def test_every_training_used_the_rate_that_its_row_names(study):
    state = load_state(study)
    with (study / "trials.csv").open(newline="") as file:
        rates = {row["trial"]: float(row["param/learning_rate"]) for row in csv.DictReader(file)}
    assert set(rates) == set(state.trials)
    for key, trial in state.trials.items():
        assert {m.metrics["lr"] for m in trial.measurements} == {rates[key]}
    assert len(set(rates.values())) > 4


def test_a_trial_that_fell_behind_ended_there_and_was_charged(study):
    state = load_state(study)
    search = [t for t in state.of_arm("tuned-asha") if t.role == "search"]
    pruned = [t for t in search if t.state == "pruned"]
    assert pruned
    for trial in pruned:
        assert len(trial.measurements) in (1, 2)
        (attempt,) = trial.attempts
        assert attempt.reason == f"behind the others after {len(trial.measurements)} epoch(s)"
        # Two clocks, the driver's and the worker's.
        assert attempt.device_seconds == pytest.approx(attempt.cost.device_seconds, abs=0.5)
        assert attempt.device_seconds > 0
        assert not list((study / "checkpoints" / trial.key).glob("*"))
    events = list(read_plain(study / "journal.jsonl"))
    last = {t.key: max(i for i, e in enumerate(events) if e.get("trial") == t.key) for t in pruned}
    assert all(events[i]["event"] == "attempt_ended" for i in last.values())


def test_what_was_paid_is_what_the_searches_cost(study):
    state = load_state(study)
    summary = json.loads((study / "report" / "summary.json").read_text())
    for arm in ("cov", "tuned-asha"):
        paid = sum(t.device_seconds for t in state.of_arm(arm) if t.role == "search")
        assert summary["arms"][arm]["cost"]["device_seconds"]["search"] == pytest.approx(paid)
    searches = {arm: sum(t.device_seconds for t in state.of_arm(arm) if t.role == "search") for arm in ("cov", "tuned")}
    assert summary["cost_ratio"]["value"] == pytest.approx(searches["tuned"] / searches["cov"])
    assert "One search for the learning rate of CoV" in (study / "report" / "index.html").read_text()
