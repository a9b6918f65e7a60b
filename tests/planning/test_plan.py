"""The plan: which trials there are, what waits for what, and that a search does not depend on who is fast."""

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.engine.searcher import task
from study.planning.standing import arm_standings
from tests.planning.walk import SCALE, Walk, config

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
        walk.step_one()
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


RATES = {"low": 1e-4, "high": 1e-2, "budget": {"trials": 4}}
ASHA = {"tuned-asha": {"budget": {"trials": 12}, "parallel": 3, "pruner": {"min_epochs": 1, "reduction": 2}}, "cov": {}}


def course(state) -> dict:
    """How far each trial came, and from where."""
    return {k: (t.state, t.params, len(t.measurements)) for k, t in state.trials.items()}


@settings(max_examples=10, deadline=None)
@given(workers=st.integers(1, 6), seed=st.integers(0, 1000), stop=st.integers(1, 20))
def test_who_falls_behind_depends_neither_on_the_workers_nor_on_who_is_fast_nor_on_a_new_start(workers, seed, stop):
    alone = course(Walk(config(arms=ASHA), workers=1, epochs=8).run())
    walk = Walk(config(arms=ASHA), workers=workers, seed=seed, epochs=8)
    walk.start_all()
    for _ in range(stop):
        walk.step_one()
        walk.start_all()
    walk.plan = Walk(config(arms=ASHA)).plan  # a new process: nothing but the state survives
    assert course(walk.run()) == alone


def test_a_pruned_trial_frees_its_worker_is_charged_and_told_to_optuna(tmp_path):
    state = Walk(config(arms=ASHA), folder=tmp_path, epochs=8).run()
    search = [t for t in state.of_arm("tuned-asha") if t.role == "search"]
    pruned = [t for t in search if t.state == "pruned"]
    assert 3 <= len(pruned) <= 10
    # Rungs after epochs 1, 2 and 4; whoever passed them all is trained to the end.
    assert {len(t.measurements) for t in pruned} <= {1, 2, 4}
    assert {len(t.measurements) for t in search if t.state == "complete"} == {8}
    assert all(t.device_seconds > 0 for t in pruned)
    assert state.trials[state.searches["tuned-asha", 0].incumbent].state == "complete"
    told = optuna_study(tmp_path, "tuned-asha-r0").trials
    assert [trial.state.name.lower() for trial in told] == [t.state for t in search]
    assert told[0].intermediate_values == {epoch: best_until(search[0], epoch) for epoch in (1, 2, 4)}


def best_until(trial, epoch: int) -> float:
    return max(m.metrics["val/psnr"] for m in trial.measurements if m.epoch <= epoch)


def optuna_study(folder, name: str) -> optuna.Study:
    path = folder / "optuna" / f"{name}.journal"
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.load_study(study_name=name, storage=storage)


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp", "cma-es"])
def test_a_search_taken_up_in_the_middle_goes_on_as_if_nothing_had_happened(sampler):
    arms = {"tuned": {"budget": {"trials": 9}, "sampler": sampler}}
    whole = Walk(config(arms=arms), workers=2).run()
    halves = Walk(config(arms=arms), workers=2)
    halves.start_all()
    for _ in range(5):
        halves.step_one()
        halves.start_all()
    again = Walk(config(arms=arms), workers=2)  # a new process: nothing but the state survives
    halves.plan = again.plan
    state = halves.run()
    assert {k: t.params for k, t in state.trials.items()} == {k: t.params for k, t in whole.trials.items()}


def test_the_learning_rate_is_tuned_in_every_arm_alike_or_in_none():
    arms = {"single": {}, "equal": {}, "tuned": {"budget": {"trials": 8}, "seeds": 2}, "cov": {"seeds": 3}}
    state = Walk(config(arms=arms, tune_learning_rate=RATES)).run()
    spaces = {}
    for arm in ("single-l1", "equal", "tuned", "cov"):
        search = [t for t in state.of_arm(arm) if t.role == "search"]
        rates = [t.params["learning_rate"] for t in search]
        assert rates[0] == config().training.learning_rate
        assert all(1e-4 <= rate <= 1e-2 for rate in rates)
        assert len(set(rates)) == len(search) == (8 if arm == "tuned" else 4)
        incumbent = state.trials[state.searches[arm, 0].incumbent]
        confirmations = [t for t in state.of_arm(arm) if t.role == "confirmation"]
        assert [t.params for t in confirmations] == [incumbent.params] * len(confirmations)
        spaces[arm] = (set(search[1].params), [t.seed for t in confirmations])
    ratios = {f"log_ratio/{term}" for term in ("ssim", "gradient", "frequency")}
    assert spaces == {
        "single-l1": ({"learning_rate"}, [1]),
        "equal": ({"learning_rate"}, [1]),
        "cov": ({"learning_rate"}, [1, 2, 3]),
        "tuned": ({"learning_rate"} | ratios, [1, 2]),
    }
    assert {t.weighting["name"] for t in state.of_arm("cov")} == {"cov"}
    assert state.trials["tuned-r0-t000"].weighting == {"name": "equal"}
    assert task(search[1].spec).training == {"learning_rate": search[1].params["learning_rate"]}
    assert not any("learning_rate" in t.params for t in Walk(config(arms=arms)).run().trials.values())


@settings(max_examples=5, deadline=None)
@given(workers=st.integers(1, 6), seed=st.integers(0, 1000))
def test_frozen_weights_whose_rate_is_tuned_are_those_of_the_incumbent(workers, seed):
    arms = {"cov-frozen": {"seeds": 2}, "cov": {}}
    walk = Walk(config(arms=arms, tune_learning_rate=RATES), workers=workers, seed=seed)
    state = walk.run()
    assert walk.order.index("cov-frozen-r0-t000") > walk.order.index("cov-r0-t003")
    assert {str(t.weighting) for t in state.of_arm("cov-frozen")} == {str({"name": "fixed", "weights": [0.25] * 4})}
    assert len(keys(state, "cov-frozen")) == 6
    alone = Walk(config(arms=arms, tune_learning_rate=RATES), workers=1).run()
    assert {k: t.params for k, t in state.trials.items()} == {k: t.params for k, t in alone.trials.items()}


def test_two_objectives_give_a_pareto_set_and_the_studys_own_objective_picks_the_incumbent(tmp_path):
    arms = {"tuned": {"budget": {"trials": 20}, "objectives": ["psnr", "ssim"]}}
    state = Walk(config(arms=arms), folder=tmp_path).run()
    search = [t for t in state.of_arm("tuned") if t.role == "search"]
    points = {t.key: tuple(t.measurements[0].metrics[f"val/{m}"] for m in ("psnr", "ssim")) for t in search}
    study = optuna_study(tmp_path, "tuned-r0")
    assert {t.user_attrs["key"]: tuple(t.values) for t in study.trials} == points
    front = {
        key
        for key, (psnr, ssim) in points.items()
        if not any(p >= psnr and s >= ssim and (p, s) != (psnr, ssim) for p, s in points.values())
    }
    assert {t.user_attrs["key"] for t in study.best_trials} == front
    assert 1 < len(front) < 20
    assert state.searches["tuned", 0].incumbent == max(points, key=lambda key: points[key][0])


def test_the_first_point_weighs_equally_and_optuna_knows_it(tmp_path):
    state = Walk(config(arms=TUNED), folder=tmp_path).run()
    assert state.trials["tuned-r0-t000"].weighting == {"name": "equal"}
    study = optuna_study(tmp_path, "tuned-r0")
    assert [trial.user_attrs["key"] for trial in study.trials] == keys(state, "tuned-r0-t")
    assert study.trials[0].user_attrs["weights"] == pytest.approx([0.25] * 4)
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    assert study.best_trial.user_attrs["key"] == state.searches["tuned", 0].incumbent


def test_the_incumbent_is_confirmed_with_its_own_weights():
    state = Walk(config(arms=TUNED)).run()
    search = state.searches["tuned", 0]
    best = max(
        (t for t in state.trials.values() if t.role == "search"), key=lambda t: t.measurements[0].metrics["val/psnr"]
    )
    assert search.incumbent == best.key
    for seed in (1, 2):
        confirmation = state.trials[f"tuned-r0-confirm-s{seed}"]
        assert (confirmation.weighting, confirmation.seed) == (best.weighting, seed)


def test_a_confirmation_that_does_better_is_not_shown_as_the_incumbent():
    walk = Walk(config(arms=TUNED))
    state = walk.run()
    state.trials["tuned-r0-confirm-s1"].measurements[0].metrics["val/psnr"] = 99.0
    (row,) = [row for row in arm_standings(state, walk.plan) if row.arm == "tuned"]
    assert row.incumbent == state.searches["tuned", 0].incumbent
    assert row.best < 99


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


@pytest.mark.parametrize("budget", [{"device_hours": 0.03}, {"wall_hours": 0.03}, {"times_cov": 8}])
@pytest.mark.parametrize("hours", [-1, 1, 10])
def test_a_clock_that_is_set_and_a_night_without_a_driver_spend_no_budget(budget, hours):
    arms = {"tuned": {"budget": budget}, "cov": {}}
    whole = Walk(config(arms=arms)).run(limit=100)
    walk = Walk(config(arms=arms))
    walk.start_all()
    for _ in range(6):
        walk.step_one()
        walk.start_all()
    walk.clock_set += hours * 3600
    state = walk.run(limit=100)
    assert course(state) == course(whole)
    assert len(course(state)) > 10
    assert [t.device_seconds for t in state.trials.values()] == [t.device_seconds for t in whole.trials.values()]


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


FAST = {"parallel": 2, "seeds": 1}


@pytest.mark.parametrize("budget", [{"times_cov": 3}, {"times_cov": 3, "device_hours": 1000}])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_search_whose_reference_fails_under_every_seed_goes_no_further_and_says_why(budget, workers):
    arms = {"tuned": {"budget": budget, **FAST}, "cov": {"seeds": 2}}
    walk = Walk(config(arms=arms), workers=workers, fail=("cov-s1", "cov-s2"))
    state = walk.run(limit=100)
    assert {t.state for t in state.of_arm("cov")} == {"failed"}
    # What may run beside the reference is kept: its best trial is confirmed.
    assert keys(state, "tuned") == ["tuned-r0-confirm-s1", "tuned-r0-t000", "tuned-r0-t001"]
    assert (
        state.searches["tuned", 0].reason == "no training of cov, of whose cost the budget is a multiple, was completed"
    )


def test_the_next_seed_of_a_reference_that_fails_takes_its_place():
    arms = {"tuned": {"budget": {"times_cov": 3}, **FAST}, "cov": {"seeds": 2}}
    walk = Walk(config(arms=arms), workers=1, fail=("cov-s1",))
    state = walk.run(limit=100)
    assert walk.order[:2] == ["cov-s1", "cov-s2"]
    assert state.searches["tuned", 0].reason == "3 times the cost of one cov training"


def test_a_search_that_would_stop_once_it_wins_goes_to_its_other_limit_when_there_is_nothing_to_beat():
    arms = {"tuned": {"budget": {"trials": 6, "stop_when_beaten": 0.2}, **FAST}, "cov": {"seeds": 2}}
    state = Walk(config(arms=arms), fail=("cov-s1", "cov-s2")).run(limit=100)
    assert state.searches["tuned", 0].reason == "6 trials"


def test_a_reference_whose_own_search_finds_nothing_is_none():
    arms = {"tuned": {"budget": {"times_cov": 3, "reference": "tuned-b"}, **FAST},
            "tuned-b": {"budget": {"trials": 3}, **FAST}}  # fmt: skip
    state = Walk(config(arms=arms), fail=tuple(f"tuned-b-r0-t{n:03d}" for n in range(3))).run(limit=100)
    assert state.searches["tuned-b", 0].incumbent is None
    assert "no training of tuned-b" in state.searches["tuned", 0].reason
    assert len(keys(state, "tuned-r0-t")) == 2


def test_two_searches_that_are_each_others_reference_end_when_neither_completes_a_trial():
    arms = {name: {"budget": {"times_cov": 3, "reference": other}, **FAST}
            for name, other in (("tuned", "tuned-b"), ("tuned-b", "tuned"))}  # fmt: skip
    walk = Walk(config(arms=arms), fail=tuple(f"{arm}-r0-t{n:03d}" for arm in arms for n in range(50)))
    assert {key: s.incumbent for key, s in walk.run(limit=100).searches.items()} == {
        ("tuned", 0): None,
        ("tuned-b", 0): None,
    }


def test_what_the_scale_cannot_be_learnt_from_ends_with_that_reason():
    walk = Walk(config(arms=TUNED), fail=("tuned-r0-t000",))
    walk.scale = None  # its process dies before the first batch
    state = walk.run(limit=100)
    assert keys(state, "tuned") == ["tuned-r0-t000"]
    assert state.searches["tuned", 0].reason == "the trial that tells the initial value of the loss terms failed"


@pytest.mark.parametrize(
    "budget", [{"device_hours": 1000}, {"wall_hours": 1000}, {"trials": 1000}, {"times_cov": 1000}]
)
@pytest.mark.parametrize("good", [0, 5])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_search_whose_trials_fail_one_after_another_ends(budget, good, workers):
    arms = {"tuned": {"budget": budget, "parallel": 3}, "cov": {}}
    fail = tuple(f"tuned-r0-t{number:03d}" for number in range(good, 1000))
    state = Walk(config(arms=arms), workers=workers, fail=fail).run(limit=200)
    # Known to trial n are trials 0 to n - 3, whoever is fast.
    assert len(keys(state, "tuned-r0-t")) == good + 20 + 2
    search = state.searches["tuned", 0]
    assert search.reason == "20 trials failed one after another"
    assert (search.incumbent is None) == (good == 0)


def test_frozen_weights_of_a_search_that_found_nothing_are_not_waited_for():
    arms = {"cov-frozen": {"seeds": 2}, "cov": {}}
    fail = tuple(f"cov-r0-t{number:03d}" for number in range(4))
    state = Walk(config(arms=arms, tune_learning_rate=RATES), fail=fail).run(limit=100)
    assert not keys(state, "cov-frozen")
    assert state.searches["cov-frozen", 0].reason == "cov, whose weights it takes, has no incumbent"


@settings(max_examples=40, deadline=None)
@given(
    budget=st.fixed_dictionaries({}, optional={
        "trials": st.integers(1, 5), "times_cov": st.sampled_from([0.5, 2]), "stop_when_beaten": st.just(0.1),
        "device_hours": st.sampled_from([1e-3, 0.01]), "wall_hours": st.sampled_from([1e-3, 0.01]),
        "reference": st.sampled_from(["cov", "cov-frozen", "tuned-b"]),
    }).filter(lambda b: b.keys() - {"stop_when_beaten", "reference"}),
    rates=st.booleans(), workers=st.integers(1, 4), seed=st.integers(0, 99), failing=st.randoms(use_true_random=False),
    share=st.sampled_from([0.0, 0.5, 1.0]),
)  # fmt: skip
def test_whatever_fails_a_study_ends_and_every_search_says_why(budget, rates, workers, seed, failing, share):
    arms = {"tuned": {"budget": budget, **FAST}, "tuned-b": {"budget": {"trials": 3, "times_cov": 9}, **FAST},
            "cov-frozen": {}, "cov": {"seeds": 2}}  # fmt: skip
    more = {"tune_learning_rate": RATES | {"budget": {"trials": 2}}} if rates else {}
    walk = Walk(config(arms=arms, **more), workers=workers, seed=seed)
    walk.fails = lambda key: failing.random() < share
    state = walk.run(limit=400)
    assert all(replicate.ended(state) for replicate in walk.plan.replicates)
    assert all(search.reason for search in state.searches.values())


def test_weights_sum_to_one_and_invert_the_scale():
    state = Walk(config(arms=TUNED)).run()
    for trial in state.trials.values():
        weights = trial.weighting.get("weights")
        if weights:
            assert sum(weights) == pytest.approx(1)
            assert all(0 < weight < 1 for weight in weights)
