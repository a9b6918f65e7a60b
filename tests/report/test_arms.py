"""An arm is what its strategy says, whatever it is called; and each dimension of a space has its own bounds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_study import FakeStudy
from matplotlib import colormaps

from search_spaces.arm import Range
from study.analysis.inference import log_ratio_interval
from study.record.arms import describe_arm, space_of
from study.record.info import StudyInfo
from study.record.record import load_state
from study.record.state import StudyState
from study.report.evidence import ArmEvidence, Evidence, SearchEvidence, gather
from study.report.figures import timeline
from study.report.figures.style import competitors, styled
from study.report.figures.weight_space import colour_scale
from study.report.findings.caveats import caveats_of
from study.report.findings.costs import cost_ratio
from study.report.findings.findings import find
from study.report.findings.words import put_into_words
from study.settings.arms import make_arms
from study.settings.schema import StudyConfig

SMALL: dict[str, Any] = {"images": False, "num_trials": 10, "epochs": 4, "seeds": (0, 1, 2)}
NAMES = {"equal": "same", "cov": "mine", "tuned": "by-hand"}


def evidence_of(fake: FakeStudy, folder: Path) -> Evidence:
    return gather(load_state(fake.write(folder / "study")))


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("says_strategies", [True, False])
def test_a_name_changes_no_number(tmp_path: Path, says_strategies: bool) -> None:
    plain = find(evidence_of(FakeStudy(**SMALL), tmp_path / "plain"))
    fake = FakeStudy(**SMALL, called=NAMES, says_strategies=says_strategies)
    named = find(evidence_of(fake, tmp_path / "named"))
    assert [named.evidence.candidate.name, named.evidence.reference.name] == ["mine", "by-hand"]
    for metric, found in plain.decisive.items():
        assert named.decisive[metric].margin == found.margin
        assert found.margin.value > 0
    assert [s.regret for s in named.searches] == [s.regret for s in plain.searches]
    assert named.searches[0].regret is not None
    assert named.break_evens == plain.break_evens
    assert put_into_words(named).headline.startswith("CoV (mine) is ")
    assert "hand-tuned weights (by-hand)" in put_into_words(named).headline


def test_of_several_arms_of_a_strategy_the_one_of_its_name_is_meant(tmp_path: Path) -> None:
    fake = FakeStudy(
        **SMALL,
        equal_arms=("same", "equal"),
        automatic_arms=("dwa", "mine", "cov"),
        tuned_arms=(("tuned-random", "random"), ("tuned", "tpe")),
    )
    state = load_state(fake.write(tmp_path / "study"))
    other = {"same": "equal", "mine": "cov"}
    arms = [
        arm | {"strategy": other.get(arm["name"], state.info.arms[arm["name"]].strategy)}
        for arm in state.info.document["arms"]
    ]
    state.info = StudyInfo(document={**state.info.document, "arms": arms})
    evidence = gather(state)
    assert [arm.name for arm in (evidence.equal, evidence.candidate, evidence.reference)] == ["equal", "cov", "tuned"]
    for trial in state.of_arm("equal"):
        trial.scores = None  # its trainings failed; the other arm of equal weights has scores
    state.info = StudyInfo(document={**state.info.document, "arms": arms[:-1]})
    for key in [trial.key for trial in state.of_arm("cov")]:
        del state.trials[key]
    evidence = gather(state)
    assert [arm.name for arm in (evidence.equal, evidence.candidate)] == ["same", "mine"]


def test_every_arm_competes_save_a_single_loss(tmp_path: Path) -> None:
    state = load_state(FakeStudy(**SMALL, called=NAMES).write(tmp_path / "study"))
    quality = {"single-l1": 20.0, "same": 19.0, "by-hand": 24.2, "mine": 24.4}
    assert competitors(gather(state), quality, "max") == ["single-l1", "same", "by-hand", "mine"]
    given = [arm | ({"strategy": "given"} if arm["name"] == "single-l1" else {}) for arm in state.info.document["arms"]]
    state.info = StudyInfo(document={**state.info.document, "arms": given})
    assert "single-l1" in competitors(gather(state), quality | {"single-l1": 1.0}, "max")


def test_journal_says_what_each_arm_is() -> None:
    config = StudyConfig.model_validate(
        {
            "terms": ["l1", "ssim"],
            "tune_learning_rate": {"low": 1e-4, "high": 1e-2},
            "arms": {
                "single": {},
                "same": {"strategy": "equal"},
                "hand": {"strategy": "given", "weights": {"l1": 1}},
                "mine": {"strategy": "cov"},
                "mean": {"strategy": "frozen", "source": "mine"},
                "tuned-wide": {"budget": {"trials": 3}},
            },
        }
    )
    arms = make_arms(config)
    state = StudyState(info=StudyInfo(document={"arms": [describe_arm(arm) for arm in arms]}))
    strategies = {arm.name: state.info.arms[arm.name].strategy for arm in arms}
    assert strategies == {
        "single-l1": "single", "single-ssim": "single", "same": "equal", "hand": "given", "mine": "cov",
        "mean": "frozen", "tuned-wide": "tuned",
    }  # fmt: skip
    assert all(arm.search is not None and space_of(state, arm.name) == arm.search.space for arm in arms)
    # A journal of before says names and roles alone; the configuration says the rest.
    roles = [{"name": arm.name, "role": arm.role} for arm in arms]
    before = StudyState(info=StudyInfo(document={"arms": roles, "config": config.model_dump(mode="json")}))
    assert {arm.name: before.info.arms[arm.name].strategy for arm in arms} == strategies


# --- figures --------------------------------------------------------------------------------------------------------


def test_timeline_names_every_arm_of_a_colour(tmp_path: Path) -> None:
    automatic = ("cov", "a1", "a2", "a3", "a4", "a5")
    findings = find(evidence_of(FakeStudy(**SMALL, called=NAMES, automatic_arms=automatic), tmp_path))
    with styled():
        drawing = timeline.draw(findings)
    assert drawing is not None
    words = " ".join(part.split("<")[0] for part in drawing.svg.split(">"))
    words = " ".join(words.split())
    assert "fixed weights: single-l1, single-ssim, single-gradient, single-perceptual, same" in words
    assert "a1, a5" in words
    assert "equal weights" not in words


@pytest.mark.parametrize(("goal", "best"), [("max", 3.0), ("min", 1.0)])
def test_the_best_value_has_the_brightest_colour(goal: str, best: float) -> None:
    scale = colour_scale(np.array([1.0, 2.0, 3.0]), goal)
    assert scale.to_rgba(best) == pytest.approx(colormaps["viridis"](1.0))


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_place_in_a_range_is_that_on_the_scale_it_is_drawn_on() -> None:
    assert [Range(low=-2.0, high=4.0).place(x) for x in (-2.0, 1.0, 4.0)] == [-1.0, 0.0, 1.0]
    rates = Range(low=1e-4, high=1e-2, log=True)
    assert [rates.place(x) for x in (1e-4, 1e-3, 1e-2)] == pytest.approx([-1.0, 0.0, 1.0])


def edge_of(state: StudyState) -> str | None:
    texts = {caveat.key: caveat.text for caveat in caveats_of(find(gather(state)))}
    return texts.get("edge_of_space")


@pytest.mark.parametrize(
    ("rate", "at_edge"), [(1e-4, True), (1.02e-4, True), (1e-3, False), (5e-3, False), (1e-2, True)]
)
def test_edge_of_the_learning_rate_is_its_own(tmp_path: Path, rate: float, at_edge: bool) -> None:
    state = load_state(FakeStudy(**SMALL).write(tmp_path / "study"))
    state.info = state.info.with_settings({"tune_learning_rate": {"low": 1e-4, "high": 1e-2}})
    for trial in state.of_arm("tuned"):
        trial.params["learning_rate"] = rate
    text = edge_of(state)
    assert (text is not None) == at_edge
    assert text is None or "(learning_rate)" in text


def test_edge_of_a_weight_is_that_of_its_bounds(tmp_path: Path) -> None:
    state = load_state(FakeStudy(**SMALL).write(tmp_path / "study"))
    incumbent = state.searches["tuned", 0].incumbent
    assert incumbent is not None
    assert edge_of(state) is None
    reach = {k: max(abs(t.params.get(k, 0.0)) for t in state.of_arm("tuned")) for k in state.trials[incumbent].params}
    reach["log_ratio/ssim"] = state.trials[incumbent].params["log_ratio/ssim"] = 1.01 * reach["log_ratio/ssim"]
    space = {name: {"low": -bound, "high": bound, "log": False} for name, bound in reach.items()}
    arms = [arm | ({"space": space} if arm["name"] == "tuned" else {}) for arm in state.info.document["arms"]]
    state.info = StudyInfo(document={**state.info.document, "arms": arms})
    text = edge_of(state)
    assert text is not None
    assert "(log_ratio/ssim)" in text


# --- costs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def both_searched(tmp_path: Path) -> tuple[ArmEvidence, ArmEvidence]:
    """An automatic arm whose learning rate was searched, three seeds confirmed, and a tuned one."""
    fake = FakeStudy(**SMALL, automatic_arms=(), tuned_arms=(("other", "tpe"), ("tuned", "tpe")))
    evidence = evidence_of(fake, tmp_path)
    return replace(evidence.arms["other"], role="automatic"), evidence.arms["tuned"]


def test_a_searched_automatic_arm_paid_for_its_search_once(both_searched: tuple[ArmEvidence, ArmEvidence]) -> None:
    candidate, reference = both_searched
    assert len(candidate.judged) == 3
    assert candidate.training_costs().tolist() == [candidate.searches[0].costs.sum()]
    ratio = cost_ratio(candidate, reference)
    assert ratio is not None
    costs = [arm.searches[0].costs for arm in (reference, candidate)]
    assert ratio.value == pytest.approx(costs[0].sum() / costs[1].sum())
    assert ratio.interval == log_ratio_interval(*costs, count=1.0)


def test_interval_of_two_searches_covers_their_ratio(both_searched: tuple[ArmEvidence, ArmEvidence]) -> None:
    candidate, reference = both_searched
    rng, hits = np.random.default_rng(0), 0

    def redrawn(arm: ArmEvidence, seconds: float, num_trials: int) -> ArmEvidence:
        search: SearchEvidence = arm.searches[0]
        costs = rng.normal(seconds, 0.1 * seconds, num_trials)
        return replace(arm, searches=[replace(search, costs=costs, trials=search.trials[:num_trials])])

    for _ in range(400):
        ratio = cost_ratio(redrawn(candidate, 80.0, 6), redrawn(reference, 100.0, 10))
        assert ratio is not None
        assert ratio.interval.low is not None
        assert ratio.interval.high is not None
        hits += ratio.interval.low <= 1000 / 480 <= ratio.interval.high
    assert 0.93 <= hits / 400 <= 0.99
