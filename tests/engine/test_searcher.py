"""What Ray is handed, and when."""

import pytest

from study.engine.searcher import PlanSearcher
from study.record.record import Record
from tests.planning.walk import SCALE, config, make_plan
from tests.record.plain import append
from trainables.task import TASK


@pytest.fixture
def begin(tmp_path):
    """A record and the searcher of a plan: `begin(num_workers=...)`."""
    with Record(tmp_path) as record:

        def begin(arms: dict | None = None, **limits) -> tuple[Record, PlanSearcher]:
            plan = make_plan(config(arms=arms) if arms else config())
            return record, PlanSearcher(plan, record, **limits)

        yield begin


def handed(searcher: PlanSearcher) -> list[str]:
    """Keys of all trials that Ray gets now."""
    keys = []
    while isinstance(asked := searcher.suggest(f"ray-{len(keys)}"), dict):
        keys.append(asked[TASK].key)
    return keys


def test_ray_takes_no_more_than_run_until_the_search_can_go_on(begin):
    record, searcher = begin(num_workers=2)
    assert handed(searcher) == ["tuned-r0-t000", "equal-s1"]
    append(record, "scale", losses=SCALE, seed=0)
    # Four at a time are known to each other; what Ray takes beyond them fills the gaps.
    assert handed(searcher)[:4] == ["tuned-r0-t001", "tuned-r0-t002", "tuned-r0-t003", "cov-s1"]


def test_no_more_are_open_than_were_asked_for(begin):
    record, searcher = begin(num_workers=2, max_open=2)
    append(record, "scale", losses=SCALE, seed=0)
    assert len(handed(searcher)) == 2


def test_a_search_that_cannot_go_on_ends_and_leaves_a_note_for_the_page(begin):
    arms = {"tuned": {"budget": {"times_cov": 3}, "parallel": 1, "seeds": 1}, "cov": {}}
    record, searcher = begin(arms, num_workers=3)
    append(record, "scale", losses=SCALE, seed=0)
    assert handed(searcher) == ["cov-s1", "tuned-r0-t000"]  # one that may run beside the reference, and no second
    for key in ("cov-s1", "tuned-r0-t000"):
        append(record, "attempt_started", trial=key, attempt=1, started=0, share=1)
        append(record, "attempt_ended", trial=key, state="failed", reason="NaN")
    assert searcher.suggest("ray-9") == PlanSearcher.FINISHED
    state = record.state
    assert state.searches["tuned", 0].incumbent is None
    assert state.notes == [
        "The search of tuned, replicate 0 was given up: no training of cov, of whose cost the budget is a multiple, "
        "was completed."
    ]
