"""Successive halving, against verdicts worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.halving import Halving, rungs
from study.settings.arms import make_arms
from study.settings.reading import load_config
from trainables.errors import UserError


@pytest.mark.parametrize(
    ("min_epochs", "reduction", "epochs", "expected"),
    [(1, 3, 10, (1, 3, 9)), (1, 3, 9, (1, 3)), (2, 2, 9, (2, 4, 8)), (4, 3, 5, (4,)), (5, 2, 5, ())],
)
def test_rungs_are_powers_and_the_last_epoch_is_none(min_epochs, reduction, epochs, expected):
    assert rungs(min_epochs, reduction, epochs) == expected


@pytest.mark.parametrize(
    ("value", "rivals", "promoted"),
    [
        (1.0, [], True),  # nothing to compare with
        (2.0, [1.0], True),  # 2 // 3 = 0 places: the best one goes on all the same
        (1.0, [2.0], False),
        (2.0, [2.0], True),  # equals go on together
        (2.0, [3.0, 1.0, 0.0, 0.0], False),  # 5 // 3 = 1 place
        (2.0, [3.0, 1.0, 0.0, 0.0, 0.0], True),  # 6 // 3 = 2 places
        (2.0, [3.0, 2.5, 0.0, 0.0, 0.0], False),
    ],
)
def test_the_best_third_goes_on_and_always_the_best(value, rivals, promoted):
    halving = Halving(rungs=(1,), reduction=3)
    assert halving.promotes(value, rivals, goal="max") is promoted
    assert halving.promotes(-value, [-rival for rival in rivals], goal="min") is promoted


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30, unique=True), st.integers(2, 5))
def test_as_many_go_on_as_there_are_places(values, reduction):
    halving = Halving(rungs=(1,), reduction=reduction)
    others = [[other for other in values if other != value] for value in values]
    promoted = [v for v, rivals in zip(values, others, strict=True) if halving.promotes(v, rivals, goal="max")]
    assert sorted(promoted) == sorted(values)[-max(1, len(values) // reduction) :]


def test_the_name_tuned_asha_means_a_pruner_and_it_is_written_down():
    config = load_config(preset="demo", overrides=["arms.tuned-asha={budget: {trials: 4}}"])
    (arm,) = [arm for arm in make_arms(config) if arm.name == "tuned-asha"]
    assert arm.search.halving == Halving(rungs=(1, 3), reduction=3)
    assert config.model_dump(mode="json")["arms"]["tuned-asha"]["pruner"] == {
        "name": "asha",
        "min_epochs": 1,
        "reduction": 3,
    }
    assert [a.search.halving for a in make_arms(config) if a.name == "tuned"] == [None]


@pytest.mark.parametrize(
    ("arm", "says"),
    [
        ("{budget: {trials: 4}, pruner: {min_epochs: 8}}", "pruner.min_epochs: 8 leaves nothing to save"),
        ("{budget: {trials: 4}, objectives: [psnr, ssim]}", "a pruner compares by one objective"),
        ("{budget: {trials: 4}, pruner: {reduction: 1}}", "`arms.tuned-asha.pruner.reduction`: input should be"),
    ],
)
def test_a_pruner_that_does_not_fit_is_told(arm, says):
    with pytest.raises(UserError, match=says):
        load_config(preset="demo", overrides=[f"arms.tuned-asha={arm}"])
