"""The Ray Trainable, called as Ray calls it, without Ray's processes around it."""

import json

import pytest
import torch
from safetensors.torch import load_file

from trainables.checkpoint import load_state
from trainables.proof import Code, source_digest
from trainables.synthesis import Synthesis
from trainables.task import REPORT, TASK, Outcome, TrialReport, TrialTask, WorkerSettings

EPOCHS = 3


@pytest.fixture
def begin(cohort, tmp_path):
    """Sets up a trial in a new process: `begin(learning_rate=...)`."""

    def begin(digest: str = source_digest("trainables"), **training) -> Synthesis:
        settings = WorkerSettings(
            training={
                "network": {"channels": [2, 4], "strides": [2]}, "epochs": EPOCHS, "steps_per_epoch": 1,
                "batch_size": 2, "schedule": "constant",
            },
            terms=("l1", "l2"), objective="psnr", metrics=(), module_path=(),
            directory=tmp_path, share=1.0, num_threads=1,
            code=Code(digests={"trainables": digest}, root="/driver"), components={},
        )  # fmt: skip
        task = TrialTask(
            key="equal-s1", seed=1, terms=("l1", "l2"), weighting={"name": "equal"}, keep_model=True,
            training=training,
        )  # fmt: skip
        trainable = Synthesis.__new__(Synthesis)
        trainable.setup({TASK: task}, cohort=cohort, settings=settings)
        return trainable

    return begin


def report_of(trainable: Synthesis) -> TrialReport:
    """What the next step reports."""
    result = trainable.step()
    assert result["done"] == (result[REPORT].outcome is not None)
    return result[REPORT]


def epochs_of(report: TrialReport) -> list[int]:
    """The epochs that a report tells of."""
    return [measured.epoch for measured in report.measurements]


def test_a_step_is_an_epoch_and_the_last_one_ends_with_the_test(begin, tmp_path):
    trainable = begin()
    reports = [report_of(trainable) for _ in range(EPOCHS)]
    assert [epochs_of(report) for report in reports] == [[1], [2], [3]]
    assert [report.outcome for report in reports] == [None, None, Outcome(state="complete")]
    assert (tmp_path / "checkpoints" / "equal-s1" / "scores.json").exists()


def test_it_learns_and_keeps_the_best_validated_model(begin, tmp_path):
    network = {"channels": [4, 8], "strides": [2]}
    trainable = begin(
        network=network, epochs=12, steps_per_epoch=20, batch_size=4, learning_rate=1e-2, schedule="cosine"
    )
    folder, results = tmp_path / "checkpoints" / "equal-s1", []
    while not results or not results[-1]["done"]:
        results.append(trainable.step())
        assert load_state(folder)["epoch"] == len(results), "after each epoch a kill loses nothing"
    values = [m.metrics["val/psnr"] for result in results for m in result[REPORT].measurements]
    assert len(values) == 12
    assert values[-1] > values[0] + 3
    card = json.loads((folder / "model.json").read_text())
    assert card["val/psnr"] == max(values) == values[card["best_epoch"] - 1]
    kept, best = load_file(folder / "model.safetensors"), load_state(folder)["best"]["model"]
    assert kept.keys() == best.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in best.items())


@pytest.mark.parametrize(("training", "rate"), [({}, 1e-3), ({"learning_rate": 0.02}, 0.02)])
def test_a_trials_own_learning_rate_is_the_one_it_trains_with(begin, training, rate):
    assert report_of(begin(**training)).measurements[0].metrics["lr"] == rate


def test_after_a_resume_what_was_never_heard_of_is_told_before_anything_is_trained(begin):
    first = begin()
    told = [report_of(first), report_of(first)]
    again = report_of(begin())
    assert epochs_of(again) == [1, 2]
    assert again.outcome is None
    for before, after in zip((m for report in told for m in report.measurements), again.measurements, strict=True):
        assert before.metrics == after.metrics
        # The attempt that trained it has paid for it.
        assert after.cost.train_seconds == 0 < before.cost.train_seconds


def test_a_training_whose_end_was_never_heard_of_is_not_trained_again(begin):
    first = begin()
    for _ in range(EPOCHS):
        first.step()
    again = begin()
    assert epochs_of(report_of(again)) == [1, 2, 3]
    last = report_of(again)
    assert last.measurements == ()
    assert last.outcome == Outcome(state="complete")


def test_a_process_with_other_code_than_the_driver_trains_nothing_and_stops_the_study(begin, tmp_path):
    report = report_of(begin(digest="0123456789ab"))
    assert report.measurements == ()
    assert report.outcome.state == "lost"
    assert "`trainables` is not the driver's: " in report.outcome.stop
    assert "/driver had 0123456789ab" in report.outcome.stop
    assert report.digest == source_digest("trainables")
    assert not (tmp_path / "checkpoints").exists()
