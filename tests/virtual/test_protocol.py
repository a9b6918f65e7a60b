"""The config: what it fills in, what it refuses, and that it survives YAML and JSON."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainables.cohort.virtual import VirtualCohortConfig
from trainables.cohort.virtual.lesions import KINDS
from trainables.cohort.virtual.protocol import Compartments, LesionMix, apportion


def _splits(**given: int) -> tuple[int | None, ...]:
    config = VirtualCohortConfig(**given)
    return config.num_train, config.num_validation, config.num_test


def test_splits_of_the_default_and_of_other_sizes() -> None:
    assert _splits() == (48, 8, 24)
    assert _splits(num_subjects=10) == (6, 1, 3)
    assert _splits(num_subjects=1) == (1, 0, 0)
    assert _splits(num_subjects=20, num_test=10) == (9, 1, 10)
    assert _splits(num_subjects=9, num_train=2, num_validation=3, num_test=4) == (2, 3, 4)


@given(num_subjects=st.integers(1, 500))
def test_splits_always_add_up_near_their_shares(num_subjects: int) -> None:
    splits = _splits(num_subjects=num_subjects)
    assert sum(splits) == num_subjects
    for count, share in zip(splits, (0.6, 0.1, 0.3), strict=True):
        assert abs(count - share * num_subjects) < 1


@given(total=st.integers(0, 300), shares=st.lists(st.floats(0, 10), min_size=1, max_size=6))
def test_apportioning_gives_each_its_quota_to_within_one(total: int, shares: list[float]) -> None:
    shares[0] += 0.1
    named = {str(index): share for index, share in enumerate(shares)}
    seats = apportion(total, named)
    assert sum(seats.values()) == total
    for name, share in named.items():
        assert abs(seats[name] - total * share / sum(shares)) < 1


def test_a_part_of_a_compartment_can_be_changed() -> None:
    text = "{compartments: {radiation_necrosis: {transfer_per_min: [0.01, 0.02]}}, protocol: {dose_mmol_per_kg: 0.05}}"
    config = VirtualCohortConfig.model_validate(yaml.safe_load(text))
    changed, default = config.compartments.radiation_necrosis, Compartments().radiation_necrosis
    assert changed.transfer_per_min == (0.01, 0.02)
    assert changed.model_copy(update={"transfer_per_min": default.transfer_per_min}) == default
    assert config.compartments.blood == Compartments().blood
    assert config.protocol.dose_mmol_per_kg == 0.05


def test_a_config_survives_json() -> None:
    config = VirtualCohortConfig(num_subjects=7, seed=3, lesions={"meningioma": 5})
    assert VirtualCohortConfig.model_validate(json.loads(config.model_dump_json())) == config


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"num_subjects": 0}, "num_subjects"),
        ({"num_subjects": "many"}, "num_subjects"),
        ({"seed": -1}, "seed"),
        ({"resolution": 0}, "resolution"),
        ({"resolution": float("nan")}, "resolution"),
        ({"num_subjects": 10, "num_train": 20}, "num_train"),
        ({"num_train": 1, "num_validation": 1, "num_test": 1}, "not num_subjects 80"),
        ({"subjects": 3}, "subjects"),
        ({"protocol": {"dose": 0.1}}, "dose"),
        ({"protocol": {"dose_mmol_per_kg": -0.1}}, "dose_mmol_per_kg"),
        ({"protocol": {"delayed_minutes": 5}}, "delayed_minutes"),
        ({"protocol": {"early_minutes": 1}}, "early_minutes"),
        ({"protocol": {"agent": "../up"}}, "agent"),
        ({"protocol": {"plasma": {"slow_rate_per_min": [0.02, 0.01]}}}, "low to high"),
        ({"compartments": {"blood": {"t1_seconds": [0, 1]}}}, "t1_seconds"),
        ({"compartments": {"bone": {"t1_seconds": [1, 1]}}}, "bone"),
        ({"compartments": {"edema": {"extravascular_fraction": [0, 0.1]}}}, "extravascular_fraction"),
        ({"lesions": dict.fromkeys(KINDS, 0)}, "share"),
    ],
)
def test_nonsense_is_refused(given: dict, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        VirtualCohortConfig.model_validate(given)


def test_every_kind_in_the_mix_can_be_drawn() -> None:
    assert LesionMix().shares().keys() == KINDS.keys()
