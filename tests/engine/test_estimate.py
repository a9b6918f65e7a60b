"""What a plan will take: the rehearsal by hand, and the command on real images."""

import json

import pytest

from study.planning.rehearsal import rehearse
from study.settings.reading import validate
from tests.commands.command import cov_study
from tests.planning.walk import DEMO, make_plan

TERMS = ("l1", "ssim")
BASE = DEMO | {"terms": list(TERMS), "seeds": [1, 2, 3]}


def rehearsed(arms, seconds, *, workers, share=1.0):
    plan = make_plan(validate(BASE | {"arms": arms}, "test"))
    state = rehearse(plan, TERMS, workers=workers, share=share, seconds_of=lambda trial: seconds[trial.arm])
    return plan, state


def makespan(state) -> float:
    return max(trial.ended for trial in state.trials.values())


def test_a_search_its_confirmations_and_a_single_training_by_hand():
    # Two workers. 0-10: trials 0 and 1 of the search; 10-20: trial 2 beside cov (10-14), then one confirmation cannot
    # start before the search ends at 20; 20-30: both confirmations.
    arms = {"tuned": {"budget": {"trials": 3}, "seeds": 2}, "cov": {}}
    _, state = rehearsed(arms, {"tuned": 10.0, "cov": 4.0}, workers=2)
    began = {key: trial.attempts[0].started for key, trial in state.trials.items()}
    assert began == {
        "tuned-r0-t000": 0, "tuned-r0-t001": 0, "tuned-r0-t002": 10, "cov-s1": 10, "tuned-r0-confirm-s1": 20,
        "tuned-r0-confirm-s2": 20,
    }  # fmt: skip
    assert makespan(state) == 30
    assert sum(trial.device_seconds for trial in state.trials.values()) == 5 * 10 + 4


@pytest.mark.parametrize(
    ("budget", "num_trials"),
    # One worker, 360 s a trial, one GPU in four of it: 90 device-seconds each. A search ends when what it has spent
    # reaches its limit, with the trial in which it does.
    [
        ({"device_hours": 0.1}, 4),
        ({"wall_hours": 0.5}, 5),
        ({"times_cov": 6}, 3),
        ({"times_cov": 6, "trials": 2}, 2),
        ({"trials": 4, "stop_when_beaten": 0.5}, 4),
    ],
)
def test_every_kind_of_budget_is_kept(budget, num_trials):
    arms = {"tuned": {"budget": budget}, "cov": {}}
    _, state = rehearsed(arms, {"tuned": 360.0, "cov": 180.0}, workers=1, share=0.25)
    assert sum(trial.role == "search" for trial in state.trials.values()) == num_trials
    assert sum(t.device_seconds for t in state.of_arm("tuned")) == pytest.approx((num_trials + 1) * 90)


@pytest.mark.parametrize("budget", [{"trials": 4}, {"times_cov": 3}, {"trials": 4, "stop_when_beaten": 0.5}])
def test_arms_whose_learning_rate_is_tuned_are_rehearsed_as_searches(budget):
    arms = {"cov-frozen": {}, "tuned": {"budget": budget}, "tuned-asha": {"budget": {"trials": 3}}, "cov": {"seeds": 2}}
    rates = {"tune_learning_rate": {"low": 1e-4, "high": 1e-2, "budget": {"trials": 2}}}
    plan = make_plan(validate(BASE | rates | {"arms": arms}, "test"))
    state = rehearse(plan, TERMS, workers=1, share=1, seconds_of=lambda trial: 10.0)
    counts = {arm: len(state.of_arm(arm)) for arm in arms}
    # Searched trials and confirmations; 3 times the cost of one training of CoV is spent after three trials.
    assert counts == {"cov-frozen": 2 + 1, "tuned": budget.get("trials", 3) + 1, "tuned-asha": 3 + 1, "cov": 2 + 2}


def test_every_trial_of_the_plan_is_there_and_waits_for_what_it_needs():
    arms = {"single": {}, "tuned": {"budget": {"trials": 4}, "replicates": 2}, "cov": {"seeds": 2}, "cov-frozen": {}}
    seconds = {"single-l1": 1.0, "single-ssim": 2.0, "tuned": 3.0, "cov": 5.0, "cov-frozen": 3.0}
    plan, state = rehearsed(arms, seconds, workers=3)
    assert len(state.trials) == plan.num_trials
    assert state.trials["cov-frozen-s1"].attempts[0].started >= state.trials["cov-s1"].ended
    busy = sum(trial.device_seconds for trial in state.trials.values())
    assert busy / 3 <= makespan(state) <= busy


@pytest.mark.slow
def test_the_command_says_device_hours_makespan_and_disk_and_trains_nothing(tmp_path):
    done = cov_study("estimate", "--preset", "smoke", "--json", "--out", "runs/s", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(row["arm"], row["num_trials"]) for row in found["arms"]] == [
        ("single-l1", 1), ("single-ssim", 1), ("equal", 1), ("tuned", 5), ("cov", 2),
    ]  # fmt: skip
    assert all(row["step_seconds"] > 0 for row in found["arms"])
    assert found["device_seconds"] == pytest.approx(sum(row["device_seconds"] for row in found["arms"]))
    assert found["device_seconds"] / found["workers"] <= found["makespan_seconds"] <= found["device_seconds"]
    disk = found["disk"]
    images = sum(path.stat().st_size for path in (tmp_path / "runs" / "cohorts").rglob("*.nii.gz"))
    arrays = sum(path.stat().st_size for path in (tmp_path / "runs" / "cohorts" / "prepared").rglob("*.npy"))
    assert disk["images"] == images
    assert disk["prepared"] == pytest.approx(arrays, rel=0.01)
    assert disk["total"] == disk["images"] + disk["prepared"] + disk["checkpoints"] + disk["models"]
    assert not (tmp_path / "runs" / "s").exists()
    # The study then finds its cohort prepared, and the kept models are as large as was said.
    run = cov_study("run", "--preset", "smoke", "--out", "runs/s", folder=tmp_path)
    assert run.returncode == 0, run.stderr
    kept = [p for p in (tmp_path / "runs" / "s" / "checkpoints").glob("*-s[0-9]/*") if p.is_file()]
    assert disk["models"] == pytest.approx(sum(path.stat().st_size for path in kept), rel=0.15)


@pytest.mark.slow
def test_a_person_is_told_the_same(tmp_path):
    done = cov_study("estimate", "--preset", "smoke", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "device-hours, about" in done.stdout
    assert "Disk: " in done.stdout
    wrong = cov_study("estimate", "--preset", "smoke", "-o", "resources.workers=4000", folder=tmp_path)
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
