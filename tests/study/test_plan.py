"""The plan: which trials there are, what waits for what, and that a search does not depend on who is fast."""

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.study.walk import SCALE, Walk, config

TUNED = {"tuned": {"budget": {"trials": 8}, "seeds": 2}, "cov": {"seeds": 2}}


def keys(state, prefix: str = "") -> list[str]:
    return sorted(key for key in state.trials if key.startswith(prefix))


def test_the_demo_has_the_trials_the_contract_names():
    state = Walk(config()).run()
    assert keys(state) == sorted(
        [f"single-{term}-s1" for term in SCALE]
        + ["equal-s1", "cov-s1", "cov-s2", "cov-s3"]
        + [f"tuned-r0-t{number:03d}" for number in range(12)]
        + [f"tuned-r0-confirm-s{seed}" for seed in (1, 2, 3)]
    )
    assert {trial.state for trial in state.trials.values()} == {"complete"}


def test_searches_come_first_and_no_worker_idles_while_anything_can_run():
    walk = Walk(config(), workers=2)
    walk.start_all()
    assert walk.order[0] == "tuned-r0-t000"
    # Until the first batch has set the terms' scale, another arm uses the second worker: the longest one.
    assert walk.order[1] == "equal-s1"
    while len(walk.order) < walk.plan.num_trials:
        assert sum(trial.state == "running" for trial in walk.state.trials.values()) == 2
        walk.end_one()
        walk.start_all()
    assert walk.order[-1].startswith("single-")


@settings(max_examples=20, deadline=None)
@given(workers=st.integers(1, 6), seed=st.integers(0, 1000))
def test_a_search_is_the_same_however_many_workers_and_whoever_ends_first(workers, seed):
    arms = {"tuned": {"budget": {"trials": 8}, "seeds": 2, "replicates": 2, "parallel": 3}, "cov": {}}
    alone = Walk(config(arms=arms), workers=1).run()
    many = Walk(config(arms=arms), workers=workers, seed=seed).run()
    assert keys(alone) == keys(many)
    assert {k: t.weighting for k, t in alone.trials.items()} == {k: t.weighting for k, t in many.trials.items()}


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp", "cma-es"])
def test_a_search_taken_up_in_the_middle_goes_on_as_if_nothing_had_happened(sampler):
    arms = {"tuned": {"budget": {"trials": 9}, "sampler": sampler}}
    whole = Walk(config(arms=arms), workers=2).run()
    halves = Walk(config(arms=arms), workers=2)
    halves.start_all()
    for _ in range(5):
        halves.end_one()
        halves.start_all()
    again = Walk(config(arms=arms), workers=2)  # a new process: nothing but the state survives
    halves.plan = again.plan
    state = halves.run()
    assert {k: t.params for k, t in state.trials.items()} == {k: t.params for k, t in whole.trials.items()}


def test_the_first_point_weighs_equally_and_optuna_knows_it(tmp_path):
    state = Walk(config(arms=TUNED), folder=tmp_path).run()
    assert state.trials["tuned-r0-t000"].weighting == {"name": "equal"}
    path = tmp_path / "optuna" / "tuned-r0.journal"
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="tuned-r0", storage=storage)
    assert [trial.user_attrs["key"] for trial in study.trials] == keys(state, "tuned-r0-t")
    assert study.trials[0].user_attrs["weights"] == pytest.approx([0.25] * 4)
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    assert study.best_trial.user_attrs["key"] == state.searches["tuned", 0].incumbent


def test_the_incumbent_is_confirmed_with_its_own_weights():
    state = Walk(config(arms=TUNED)).run()
    search = state.searches["tuned", 0]
    best = max(
        (t for t in state.trials.values() if t.role == "search"), key=lambda t: t.measurements[0]["metrics"]["val/psnr"]
    )
    assert search.incumbent == best.key
    for seed in (1, 2):
        confirmation = state.trials[f"tuned-r0-confirm-s{seed}"]
        assert (confirmation.weighting, confirmation.seed) == (best.weighting, seed)


def test_a_failed_trial_is_never_the_incumbent_and_counts_as_a_trial():
    whole = Walk(config(arms=TUNED)).run()
    fail = (whole.searches["tuned", 0].incumbent,)
    state = Walk(config(arms=TUNED), fail=fail).run()
    assert len(keys(state, "tuned-r0-t")) == 8
    assert state.searches["tuned", 0].incumbent not in fail


def test_a_search_of_which_everything_failed_ends_without_a_confirmation():
    fail = tuple(f"tuned-r0-t{number:03d}" for number in range(8))
    state = Walk(config(arms=TUNED), fail=fail).run()
    assert state.searches["tuned", 0].incumbent is None
    assert not keys(state, "tuned-r0-confirm")


def test_frozen_weights_wait_for_their_training_and_are_its_mean():
    arms = {"cov-frozen": {"seeds": 2}, "cov": {"seeds": 2}}
    walk = Walk(config(arms=arms), workers=4)
    state = walk.run()
    for seed in (1, 2):
        assert walk.order.index(f"cov-frozen-s{seed}") > walk.order.index(f"cov-s{seed}")
        assert state.trials[f"cov-frozen-s{seed}"].weighting == {"name": "fixed", "weights": [0.25] * 4}


def test_what_waits_for_a_failed_training_is_not_run():
    arms = {"cov-frozen": {"seeds": 2}, "cov": {"seeds": 2}}
    state = Walk(config(arms=arms), fail=("cov-s1",)).run()
    assert keys(state) == ["cov-frozen-s2", "cov-s1", "cov-s2"]


@pytest.mark.parametrize("budget", [{"device_hours": 100 / 3600}, {"wall_hours": 100 / 3600}])
def test_a_budget_in_hours_ends_a_search(budget):
    state = Walk(config(arms={"tuned": {"budget": budget}})).run()
    trials = [t for t in state.trials.values() if t.role == "search"]
    spent = sum(t.device_seconds for t in trials)
    assert len(trials) > 8
    assert spent >= 100 * (1 if "device_hours" in budget else 0.5)
    # No trial is started once the budget is spent; what runs then is finished and charged.
    assert spent - sum(t.device_seconds for t in trials[-2:]) < 200
    assert "hours" in state.searches["tuned", 0].reason


def test_a_budget_in_trainings_of_cov_is_measured_as_it_runs():
    arms = {"tuned": {"budget": {"times_cov": 5}}, "cov": {"seeds": 2}}
    walk = Walk(config(arms=arms))
    state = walk.run()
    assert walk.order[0] == "cov-s1"
    cov = [t.device_seconds for t in state.of_arm("cov")]
    search = [t.device_seconds for t in state.trials.values() if t.role == "search"]
    assert sum(search) >= 5 * min(cov)
    assert sum(search[:-3]) < 5 * max(cov)
    assert state.searches["tuned", 0].reason == "5 times the cost of one cov training"


def test_a_search_may_stop_when_it_has_beaten_cov_and_says_so():
    arms = {"tuned": {"budget": {"trials": 60, "stop_when_beaten": 0.2}}, "cov": {}}
    state = Walk(config(arms=arms)).run()
    assert len(keys(state, "tuned-r0-t")) < 60
    assert "beats cov by more than 0.2" in state.searches["tuned", 0].reason


def test_weights_sum_to_one_and_invert_the_scale():
    state = Walk(config(arms=TUNED)).run()
    for trial in state.trials.values():
        weights = trial.weighting.get("weights")
        if weights:
            assert sum(weights) == pytest.approx(1)
            assert all(0 < weight < 1 for weight in weights)
