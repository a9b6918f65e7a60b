"""What Ray is handed, and when."""

from functools import partial

import pytest

from study.journal import Journal, apply
from study.run import make_plan
from study.searcher import PlanSearcher
from study.state import StudyState
from tests.study.walk import SCALE, config


@pytest.fixture
def begin(tmp_path):
    """A journal and the searcher of a plan: `begin(num_workers=...)`."""
    with Journal(tmp_path / "journal.jsonl") as journal:

        def begin(**limits) -> tuple[Journal, PlanSearcher]:
            state = StudyState(info={"objective": "val/psnr", "goal": "max"})
            journal.listeners.append(partial(apply, state))
            return journal, PlanSearcher(make_plan(config(), None), journal, state, **limits)

        yield begin


def handed(searcher: PlanSearcher) -> list[str]:
    """Keys of all trials that Ray gets now."""
    keys = []
    while isinstance(asked := searcher.suggest(f"ray-{len(keys)}"), dict):
        keys.append(asked["trial"]["key"])
    return keys


def test_ray_takes_no_more_than_run_until_the_search_can_go_on(begin):
    journal, searcher = begin(num_workers=2)
    assert handed(searcher) == ["tuned-r0-t000", "equal-s1"]
    journal.append("scale", losses=SCALE, seed=0)
    # Four at a time are known to each other; what Ray takes beyond them fills the gaps.
    assert handed(searcher)[:4] == ["tuned-r0-t001", "tuned-r0-t002", "tuned-r0-t003", "cov-s1"]


def test_no_more_are_open_than_were_asked_for(begin):
    journal, searcher = begin(num_workers=2, max_open=2)
    journal.append("scale", losses=SCALE, seed=0)
    assert len(handed(searcher)) == 2
