"""All that is read from a user's file is frozen and refuses unknown keys, by one base."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from study.settings.schema import StudyConfig
from study.tracking.settings import TrackingSettings
from trainables import frozen
from trainables.cohort.virtual import VirtualCohortConfig
from trainables.config import TrainingConfig
from trainables.frozen import FrozenModel
from trainables.inference import ModelCard

WITHOUT_ARGUMENTS = [TrackingSettings(), VirtualCohortConfig(), TrainingConfig(), StudyConfig(arms={"cov": {}})]


@pytest.mark.parametrize("model", WITHOUT_ARGUMENTS, ids=lambda model: type(model).__name__)
def test_a_model_never_changes_and_knows_its_keys(model: BaseModel) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(model, next(iter(type(model).model_fields)), 1)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(model).model_validate(model.model_dump() | {"colour": "red"})


def test_a_card_of_a_later_version_may_say_more() -> None:
    assert issubclass(ModelCard, FrozenModel)
    assert ModelCard.model_config["extra"] == "ignore"


def test_there_is_one_base() -> None:
    root = Path(frozen.__file__).parent.parent
    sources = [path for floor in ("study", "search_spaces", "trainables") for path in (root / floor).rglob("*.py")]
    own = re.compile(r"model_config = |\(BaseModel")
    assert [path.name for path in sources if own.search(path.read_text(encoding="utf-8"))] == ["frozen.py"]
