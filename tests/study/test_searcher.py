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

        def begin(arms: dict | None = None, **limits) -> tuple[Journal, PlanSearcher]:
            state = StudyState(info={"objective": "val/psnr", "goal": "max"})
            journal.listeners.append(partial(apply, state))
            plan = make_plan(config(arms=arms) if arms else config(), None)
            return journal, PlanSearcher(plan, journal, state, **limits)

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


def test_a_search_that_cannot_go_on_ends_and_leaves_a_note_for_the_page(begin):
    arms = {"tuned": {"budget": {"times_cov": 3}, "parallel": 1, "seeds": 1}, "cov": {}}
    journal, searcher = begin(arms, num_workers=3)
    journal.append("scale", losses=SCALE, seed=0)
    assert handed(searcher) == ["cov-s1", "tuned-r0-t000"]  # one that may run beside the reference, and no second
    for key in ("cov-s1", "tuned-r0-t000"):
        journal.append("attempt_started", trial=key, attempt=1, started=0, share=1)
        journal.append("attempt_ended", trial=key, state="failed", reason="NaN")
    assert searcher.suggest("ray-9") == PlanSearcher.FINISHED
    state = journal.replay()
    assert state.searches["tuned", 0].incumbent is None
    assert state.notes == [
        "The search of tuned, replicate 0 was given up: no training of cov, of whose cost the budget is a multiple, "
        "was completed."
    ]
