"""The journal folded into runs: figures worked out by hand, and laws that hold for any study."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.record.journal import read_events
from study.record.ledger import mean_score
from study.record.record import load_state
from study.tracking.run import NOTE_TAG, Point, Run
from study.tracking.runs import Runs
from study.tracking.settings import TrackingSettings, load_settings
from tests.record.plain import stamped
from tests.report.fake_study import FakeStudy

INFO = {
    "name": "heads",
    "config": {"seed": 0, "cohort": {"prepare": {"pseudonyms": True}}},
    "objective": "val/psnr",
    "goal": "max",
    "terms": ["l1", "ssim"],
    "arms": [{"name": "tuned", "role": "tuned"}, {"name": "cov", "role": "automatic"}],
}


class Script:
    """Events of a study, written line by line."""

    def __init__(self, options: TrackingSettings | None = None, **info: Any) -> None:
        self.runs = Runs(options or load_settings(environ={}))
        self.add("study", 0.0, **(INFO | info))
        self.key = self.runs.study_key

    def add(self, kind: str, time: float, **fields: Any) -> None:
        self.runs.fold(stamped(kind, time, **fields))

    def start(self, trial: str, time: float, *, arm: str = "tuned", role: str = "search", replicate: int | None = 0,
              share: float = 1.0, attempt: int = 1, seed: int = 0) -> None:  # fmt: skip
        if attempt == 1:
            weighting = {"name": "fixed", "weights": [0.25, 0.75]}
            fields = {
                "role": role,
                "seed": seed,
                "replicate": replicate,
                "number": 0,
                "params": {"log_ratio/ssim": 1.5},
            }
            self.add("trial", time, trial=trial, arm=arm, weighting=weighting, terms=["l1", "ssim"], **fields)
        self.add("attempt_started", time, trial=trial, attempt=attempt, started=time, share=share)

    def measure(
        self, trial: str, time: float, epoch: int, psnr: float | None, *, held: float, attempt: int = 1
    ) -> None:
        self.add(
            "measurement", time, trial=trial, attempt=attempt, epoch=epoch, step=10 * epoch,
            metrics={"val/psnr": psnr, "loss/l1": 0.5, "lr": 1e-3}, weights={"l1": 0.25, "ssim": 0.75},
            cost={"device_seconds": held, "train_seconds": held, "peak_bytes": 100 * attempt, "energy_joules": None},
            device={"name": "cpu", "uuid": None, "node": "here"},
        )  # fmt: skip

    def end(self, trial: str, time: float, state: str = "complete", **fields: Any) -> None:
        self.add("attempt_ended", time, trial=trial, state=state, ended=time, **fields)

    def run(self, *path: str) -> Run:
        return self.runs.runs["/".join((self.key, *path))]

    def points(self, key: str, *path: str) -> list[tuple[int, float]]:
        return [(p.step, p.value) for p in self.run(*path).points if p.key == key]


def test_incumbent_against_device_seconds_by_hand() -> None:
    """Two trials of one search side by side, each on half a device."""
    s = Script()
    s.start("a", 10.0, share=0.5)
    s.measure("a", 20.0, 1, 30.0, held=5.0)  # paid: a 10 s x 0.5 = 5
    s.start("b", 20.0, share=0.5)
    s.measure("b", 30.0, 1, 29.0, held=5.0)  # a 10, b 5: 15; a stays the incumbent
    s.measure("b", 40.0, 2, 31.0, held=10.0)  # a 15, b 10: 25; b is better
    s.end("a", 41.0)  # a 15.5, b 10.5: 26
    s.end("b", 50.0)  # a 15.5, b 15: 30.5
    assert s.points("incumbent/val_psnr", "tuned") == [(5, 30.0), (25, 30.0), (25, 31.0), (26, 31.0), (30, 31.0)]
    # Weights of the incumbent trial, where it measures.
    assert s.points("incumbent/weight_ssim", "tuned") == [(5, 0.75), (25, 0.75)]
    assert s.points("paid/device_seconds", "tuned") == [(1, 15.5), (2, 30.5)]
    assert [p.timestamp for p in s.run("tuned").points if p.key == "paid/device_seconds"] == [41_000, 50_000]


def test_a_goal_of_min_is_respected() -> None:
    s = Script(goal="min")
    s.start("a", 0.0)
    s.measure("a", 10.0, 1, 3.0, held=10.0)
    s.measure("a", 20.0, 2, 4.0, held=20.0)
    s.measure("a", 30.0, 3, None, held=30.0)  # not finite
    s.end("a", 31.0)
    assert s.points("incumbent/val_psnr", "tuned") == [(10, 3.0), (31, 3.0)]
    assert s.points("val/psnr", "tuned", "a") == [(1, 3.0), (2, 4.0)]


def test_replicates_and_seeds_are_paid_apart_and_confirmation_is_no_incumbent() -> None:
    s = Script()
    s.start("a", 0.0, replicate=0)
    s.measure("a", 10.0, 1, 30.0, held=10.0)
    s.end("a", 10.0)
    s.start("b", 10.0, replicate=1)
    s.measure("b", 17.0, 1, 32.0, held=7.0)
    s.end("b", 17.0)
    s.start("c", 20.0, role="confirmation", replicate=0, seed=1)
    s.measure("c", 25.0, 1, 40.0, held=5.0)
    s.end("c", 25.0)
    assert s.points("incumbent/val_psnr", "tuned") == [(10, 30.0), (10, 30.0)]
    assert s.points("incumbent_r1/val_psnr", "tuned") == [(7, 32.0), (7, 32.0)]
    assert s.points("paid/confirmation_device_seconds", "tuned")[-1] == (3, 5.0)
    assert s.points("paid/search_device_seconds", "tuned")[-1] == (3, 17.0)


def test_a_lost_attempt_is_paid_and_its_epochs_are_not_logged_twice() -> None:
    s = Script()
    s.start("a", 0.0)
    s.measure("a", 10.0, 1, 30.0, held=10.0)
    s.measure("a", 20.0, 2, 31.0, held=20.0)
    s.end("a", 24.0, "lost", retry=True, reason="the worker went away", cost={"device_seconds": 24.0})
    assert (s.run("tuned", "a").status, s.run("tuned", "a").ended) == ("KILLED", 24_000)
    s.start("a", 30.0, attempt=2)
    assert s.run("tuned", "a").status == "RUNNING"
    s.measure("a", 38.0, 2, 31.0, held=8.0, attempt=2)  # from the checkpoint of epoch 1
    s.measure("a", 46.0, 3, 32.0, held=16.0, attempt=2)
    s.end("a", 47.0)
    assert s.points("val/psnr", "tuned", "a") == [(1, 30.0), (2, 31.0), (3, 32.0)]
    assert s.points("cost/device_seconds", "tuned", "a") == [(1, 10.0), (2, 20.0), (2, 24.0), (3, 40.0), (3, 41.0)]
    assert s.points("cost/peak_bytes", "tuned", "a")[-1] == (3, 200.0)
    assert s.run("tuned", "a").tags["attempts"] == "2"
    assert s.run("tuned", "a").tags["state"] == s.run("tuned", "a").params["state"] == "complete"


def test_a_crash_of_the_driver_kills_what_ran_and_keeps_its_cost() -> None:
    s = Script()
    s.add("driver_started", 1.0, pid=1)
    s.start("a", 10.0)
    s.measure("a", 20.0, 1, 30.0, held=10.0)
    s.add("heartbeat", 25.0)
    s.add("driver_started", 1000.0, pid=2)  # the first one was killed
    run = s.run("tuned", "a")
    assert (run.status, run.ended, run.tags["state"]) == ("KILLED", 25_000, "lost")
    assert s.points("cost/device_seconds", "tuned", "a")[-1] == (1, 15.0)
    assert s.run().status == "RUNNING"
    s.start("a", 1010.0, attempt=2)
    assert run.status == s.run("tuned").status == "RUNNING"
    s.add("driver_stopped", 1020.0, reason="interrupted")
    assert {r.status for r in s.runs.runs.values()} == {"KILLED"}
    assert s.run("tuned", "a").params.get("state") is None  # a parameter only once it cannot change any more


def test_orphans_end_when_they_were_last_heard_of() -> None:
    s = Script()
    s.start("a", 10.0)
    s.measure("a", 20.0, 1, 30.0, held=10.0)
    s.runs.close_open()
    assert {(r.status, r.ended) for r in s.runs.runs.values()} == {("KILLED", 20_000)}


@pytest.mark.parametrize(("state", "status"), [("complete", "FINISHED"), ("pruned", "FINISHED"), ("failed", "FAILED")])
def test_states(state: str, status: str) -> None:
    s = Script()
    s.start("a", 0.0)
    s.end("a", 5.0, state)
    run = s.run("tuned", "a")
    assert (run.status, run.ended, run.params["state"], run.tags["state"]) == (status, 5000, state, state)


def test_a_failed_trial_that_succeeds_later_keeps_its_first_parameter() -> None:
    s = Script()
    s.start("a", 0.0)
    s.end("a", 5.0, "failed")
    s.runs.forget()
    s.start("a", 10.0, attempt=2)
    s.end("a", 15.0, "complete")
    assert "state" not in s.run("tuned", "a").params
    assert s.run("tuned", "a").tags["state"] == "complete"


def test_every_run_can_be_grouped_by_every_label() -> None:
    s = Script()
    s.start("a", 0.0)
    for path in ((), ("tuned",), ("tuned", "a")):
        run = s.run(*path)
        for label in ("study", "arm", "replicate", "seed"):
            assert run.tags[label] == run.params[label]
        assert run.tags["state"] == "running"
    assert s.run("tuned", "a").params["log_ratio/ssim"] == "1.5"
    assert s.run("tuned", "a").params["weighting/weights"] == "[0.25, 0.75]"
    assert s.run().params["config/cohort/prepare/pseudonyms"] == "true"


def test_test_scores_are_means_over_subjects_and_trials_and_never_of_a_search() -> None:
    s = Script()
    for trial, seed, values in (("c1", 1, (20.0, 30.0)), ("c2", 2, (28.0, 30.0))):
        s.start(trial, 0.0, arm="cov", role="single", replicate=None, seed=seed)
        scores = {f"sub{i}": {"mask": {"psnr": v}, "volume": {"psnr": v + 1}} for i, v in enumerate(values)}
        scores["sub0"]["lesion"] = {"psnr": 10.0}
        s.add("scores", 5.0, trial=trial, scores=scores)
    s.start("a", 0.0)
    s.add("scores", 6.0, trial="a", scores={"sub0": {"mask": {"psnr": 99.0}}})
    assert s.points("test/psnr", "cov", "c1") == [(0, 25.0)]
    assert s.points("test/volume_psnr", "cov", "c2") == [(0, 30.0)]
    assert s.points("test/lesion_psnr", "cov", "c1") == [(0, 10.0)]
    assert s.points("test/psnr", "cov") == [(1, 25.0), (2, 27.0)]
    assert not [p for p in s.run("tuned", "a").points if p.key.startswith("test/")]
    assert not s.run("tuned", "a").files


def test_test_scores_are_to_the_bit_those_of_the_ledger() -> None:
    s = Script()
    s.start("c1", 0.0, arm="cov", role="single", replicate=None)
    scores = {f"sub{i}": {"mask": {"psnr": v}, "volume": {"psnr": None}} for i, v in enumerate((0.1, 0.2, 0.3))}
    s.add("scores", 5.0, trial="c1", scores=scores)
    assert s.points("test/psnr", "cov", "c1") == [(0, mean_score(scores, "mask", "psnr"))]
    assert s.points("test/volume_psnr", "cov", "c1") == []


def _judged(options: TrackingSettings, **info: Any) -> set[str]:
    s = Script(options, **info)
    s.start("c1", 0.0, arm="cov", role="single", replicate=None)
    s.add("scores", 5.0, trial="c1", scores={"sub0": {"mask": {"psnr": 20.0}}})
    s.runs.attach(None)
    return {path for run in s.runs.runs.values() for path in run.files}


def test_files_and_how_to_leave_them_out() -> None:
    default = load_settings(environ={})
    models = {"checkpoints/c1/model.safetensors", "checkpoints/c1/model.json"}
    images, report = {"checkpoints/c1/slices.safetensors"}, {"report/index.html", "report/summary.json"}
    assert _judged(default) == models | images | report | {"study.yaml"}
    assert _judged(default.model_copy(update={"artifacts": ("models",)})) == models
    named = {"config": {"cohort": {"prepare": {"pseudonyms": False}}}}
    assert _judged(default, **named) == models | {"study.yaml"}
    assert _judged(default.model_copy(update={"pseudonyms": False}), **named) == models | images | report | {
        "study.yaml"
    }
    assert _judged(default, config={"report": {"images": False}}) == models | report | {"study.yaml"}


@pytest.mark.parametrize("depth", ["arms", "trials", "epochs"])
def test_how_deep_to_mirror(depth: str) -> None:
    s = Script(load_settings(environ={}).model_copy(update={"mirror": depth}))
    s.start("a", 0.0)
    s.measure("a", 10.0, 1, 30.0, held=10.0)
    s.measure("a", 20.0, 2, 31.0, held=20.0)
    s.end("a", 21.0)
    s.add("search_ended", 22.0, arm="tuned", replicate=0, incumbent="a", reason="all trials done")
    s.start("c", 23.0, role="confirmation", seed=1)
    s.add("scores", 24.0, trial="c", scores={"sub0": {"mask": {"psnr": 20.0}}})
    s.add("finished", 25.0)
    assert s.points("incumbent/val_psnr", "tuned") == [(10, 30.0), (20, 30.0), (20, 31.0), (21, 31.0)]
    assert s.points("test/psnr", "tuned") == [(1, 20.0)]
    assert s.run("tuned").tags["incumbent_r0"] == "a"
    if depth == "arms":
        assert not [key for key in s.runs.runs if key.count("/") == 2]
    else:
        assert s.points("val/psnr", "tuned", "a") == ([(2, 31.0)] if depth == "trials" else [(1, 30.0), (2, 31.0)])
        assert s.points("best/val_psnr", "tuned", "a") == [(0, 31.0)]


def test_credentials_in_the_configuration_do_not_become_parameters() -> None:
    s = Script(config={"tracking": {"uri": "http://anna:geheim@server:5000"}})
    assert "geheim" not in str(s.run().params)


def test_the_note_has_the_reports_words_and_a_link() -> None:
    s = Script(cohort={"num_subjects": 80, "simulated": True})
    assert "simulated" in s.run().tags[NOTE_TAG]
    s.runs.attach({"verdict": {"headline": "CoV is non-inferior in PSNR.", "cost": "It costs a tenth."}})
    note = s.run().tags[NOTE_TAG]
    assert "CoV is non-inferior in PSNR." in note
    assert "It costs a tenth." in note
    assert "report/index.html" in note


# --- laws ---------------------------------------------------------------------------------------------------------


@st.composite
def fakes(draw: st.DrawFn) -> FakeStudy:
    """Small studies in which trials are lost, fail and are pruned at random."""
    seed = draw(st.integers(0, 2**16))

    def some(kind: int) -> Any:
        return lambda key: random.Random(f"{seed} {kind} {key}").random() < 0.25

    return FakeStudy(
        terms=("l1", "ssim", "gradient"), num_subjects=2, num_trials=draw(st.integers(1, 4)),
        replicates=draw(st.integers(1, 2)), seeds=(1, 2), confirm_seeds=(1,), epochs=draw(st.integers(3, 5)),
        automatic_arms=("cov",), single_arms=False, images=False, seed=seed,
        lose=some(1), fail=some(2), prune=some(3),
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(fake=fakes())
def test_laws(fake: FakeStudy, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = fake.write(tmp_path_factory.mktemp("law"))
    events, state = list(read_events(directory / "journal.jsonl")), load_state(directory)
    runs = Runs(load_settings(environ={}))
    for event in events:
        runs.fold(event)

    # Cost: an arm has paid what its trials have paid, no more and no less.
    for arm in {trial.arm for trial in state.trials.values()}:
        paid = [p.value for p in runs.runs[f"{runs.study_key}/{arm}"].points if p.key == "paid/device_seconds"]
        assert paid[-1] == pytest.approx(sum(t.device_seconds for t in state.of_arm(arm)))

    # Incumbents never get worse, and what is paid never becomes less.
    for run in runs.runs.values():
        for key in {p.key for p in run.points if p.key.startswith("incumbent") and p.key.endswith("val_psnr")}:
            curve = [p for p in run.points if p.key == key]
            assert [p.value for p in curve] == sorted(p.value for p in curve)
            assert [p.step for p in curve] == sorted(p.step for p in curve)

    # No epoch twice, and every run is closed by its last event.
    for run in runs.runs.values():
        epochs = [p.step for p in run.points if p.key == "val/psnr"]
        assert len(epochs) == len(set(epochs))
        assert run.status != "RUNNING"

    # Written in pieces it is the same.
    pieces, seen = Runs(load_settings(environ={})), []
    for number, event in enumerate(events):
        pieces.fold(event)
        if number % 7 == 0:
            seen += _take(pieces)
    assert sorted(seen + _take(pieces)) == sorted(_take(runs))


def _take(runs: Runs) -> list[tuple[str, Point]]:
    points = [(run.key, point) for run in runs.dirty.values() for point in run.points]
    runs.forget()
    return points


def test_memory_grows_with_trials_not_with_epochs() -> None:
    s = Script()
    s.start("a", 0.0)
    for epoch in range(1, 200):
        s.measure("a", 10.0 * epoch, epoch, 30.0, held=10.0 * epoch)
        s.runs.forget()
    assert len(s.runs.state.trials["a"].measurements) == 1
    assert not s.run("tuned", "a").points


def test_the_key_tells_studies_of_the_same_name_apart(tmp_path: Path) -> None:
    first, second = Script(), Script()
    second.runs = Runs(load_settings(environ={}))
    second.add("study", 1.0, **INFO)
    assert first.runs.study_key != second.runs.study_key
    assert Script().runs.study_key == first.runs.study_key
