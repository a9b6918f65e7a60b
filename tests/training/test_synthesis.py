"""The Ray Trainable, called as Ray calls it, without Ray's processes around it."""

import pytest

from trainables.proof import source_digest
from trainables.synthesis import Synthesis

EPOCHS = 3


@pytest.fixture
def begin(cohort, tmp_path):
    """Sets up a trial in a new process: `begin(learning_rate=...)`."""

    def begin(digest: str = source_digest("trainables"), **training) -> Synthesis:
        settings = {
            "training": {
                "network": {"channels": [2, 4], "strides": [2]}, "epochs": EPOCHS, "steps_per_epoch": 1,
                "batch_size": 2, "schedule": "constant",
            },
            "terms": ["l1", "l2"], "objective": "psnr", "metrics": [], "module_path": [],
            "directory": str(tmp_path), "share": 1.0, "num_threads": 1,
            "code": {"digests": {"trainables": digest}, "root": "/driver", "parts": {}},
        }  # fmt: skip
        weighting = {"name": "equal"}
        trial = {
            "key": "equal-s1", "seed": 1, "terms": ["l1", "l2"], "weighting": weighting, "keep_model": True,
            "training": training,
        }  # fmt: skip
        trainable = Synthesis.__new__(Synthesis)
        trainable.setup({"trial": trial}, cohort=cohort, settings=settings)
        return trainable

    return begin


def test_a_step_is_an_epoch_and_the_last_one_ends_with_the_test(begin, tmp_path):
    trainable = begin()
    results = [trainable.step() for _ in range(EPOCHS)]
    assert [[m["epoch"] for m in result["measurements"]] for result in results] == [[1], [2], [3]]
    assert [result["outcome"] for result in results] == [{}, {}, {"state": "complete"}]
    assert (tmp_path / "checkpoints" / "equal-s1" / "scores.json").exists()


@pytest.mark.parametrize(("training", "rate"), [({}, 1e-3), ({"learning_rate": 0.02}, 0.02)])
def test_a_trials_own_learning_rate_is_the_one_it_trains_with(begin, training, rate):
    assert begin(**training).step()["measurements"][0]["metrics"]["lr"] == rate


def test_after_a_resume_what_was_never_heard_of_is_told_before_anything_is_trained(begin):
    first = begin()
    told = [first.step(), first.step()]
    again = begin().step()
    assert [m["epoch"] for m in again["measurements"]] == [1, 2]
    assert again["outcome"] == {}
    for before, after in zip(
        (m for result in told for m in result["measurements"]), again["measurements"], strict=True
    ):
        assert before["metrics"] == after["metrics"]
        # The attempt that trained it has paid for it.
        assert after["cost"]["train_seconds"] == 0 < before["cost"]["train_seconds"]


def test_a_training_whose_end_was_never_heard_of_is_not_trained_again(begin):
    first = begin()
    for _ in range(EPOCHS):
        first.step()
    again = begin()
    assert [m["epoch"] for m in again.step()["measurements"]] == [1, 2, 3]
    last = again.step()
    assert last["measurements"] == []
    assert last["outcome"] == {"state": "complete"}


def test_a_process_with_other_code_than_the_driver_trains_nothing_and_stops_the_study(begin, tmp_path):
    result = begin(digest="0123456789ab").step()
    assert "measurements" not in result
    assert result["outcome"]["state"] == "lost"
    assert "`trainables` is not the driver's: " in result["outcome"]["stop"]
    assert "/driver had 0123456789ab" in result["outcome"]["stop"]
    assert result["code"] == source_digest("trainables")
    assert not (tmp_path / "checkpoints").exists()
