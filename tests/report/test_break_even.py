"""Break-even, regret and curves compare trainings under equal seeds, or say that they cannot."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_study import FakeStudy

from study.record.record import load_state
from study.record.state import StudyState, Trial
from study.report.evidence import gather
from study.report.figures import cost_quality, tuning
from study.report.figures.style import styled
from study.report.findings.break_even import BreakEvenFinding
from study.report.findings.findings import Findings, find
from study.report.findings.words import put_into_words

SMALL: dict[str, Any] = {"images": False, "num_trials": 10, "epochs": 4, "single_arms": False}
MARGIN: dict[str, Any] = {"margin": {"psnr": 0.1, "ssim": 0.01, "rmse": 0.001}}
RANDOM: dict[str, Any] = {"tuned_arms": (("tuned", "random"),)}


@pytest.fixture
def state_of(tmp_path: Path) -> Callable[..., StudyState]:
    return lambda **study: load_state(FakeStudy(**(SMALL | MARGIN | study)).write(tmp_path / "study"))


def shifted(state: StudyState, which: Callable[[Trial], bool], by: float) -> None:
    """Adds to the test PSNR of some trials, all subjects alike."""
    for trial in state.trials.values():
        if which(trial) and trial.scores is not None:
            for regions in trial.scores.values():
                regions["mask"]["psnr"] += by  # type: ignore[index]


def psnr(trial: Trial) -> float:
    assert trial.scores is not None
    return float(np.mean([regions["mask"]["psnr"] for regions in trial.scores.values()]))


def first_level(state: StudyState) -> BreakEvenFinding:
    return find(gather(state)).break_evens[0]


def words(state: StudyState) -> str:
    return put_into_words(find(gather(state))).break_even


def ended(state: StudyState) -> list[Trial]:
    return sorted((t for t in state.of_arm("tuned") if t.role == "search"), key=lambda trial: trial.ended or 0.0)


# --- equal seeds ----------------------------------------------------------------------------------------------------


def test_under_a_shared_seed_every_trial_is_compared_with_that_training_alone(
    state_of: Callable[..., StudyState],
) -> None:
    state = state_of(search_seed=2, cov_gain=-0.4)
    found = first_level(state)
    target = psnr(state.trials["cov-s2"]) - 0.1
    assert (found.compared, list(found.seeds), found.at_most) == ("equal seeds", [2], False)
    assert found.targets == pytest.approx([target])
    reached, spent, best = None, 0.0, -np.inf
    for trial in ended(state):
        spent += trial.device_seconds
        value = max(m.metrics["val/psnr"] for m in trial.measurements)
        if value > best:
            best, incumbent = value, trial
        if reached is None and psnr(incumbent) >= target:
            reached = spent
    assert reached is not None
    assert reached > ended(state)[0].device_seconds
    assert found.result.device_seconds == pytest.approx(reached)
    shifted(state, lambda trial: trial.arm == "cov" and trial.seed != 2, 3.0)
    assert first_level(state) == found
    assert "both trained under seed 2" in words(state)


def test_of_several_searches_each_is_compared_under_its_own_seed(state_of: Callable[..., StudyState]) -> None:
    state = state_of(search_seed=2, replicates=3)  # seeds 2, 3 and 4; CoV was trained under 1, 2 and 3
    found = first_level(state)
    assert found.num_searches == 2
    assert list(found.seeds) == [2, 3]
    assert found.targets == pytest.approx([psnr(state.trials[f"cov-s{seed}"]) - 0.1 for seed in (2, 3)])
    assert "under its own seed (seeds 2 and 3)" in words(state)


def test_a_search_without_test_scores_is_compared_on_validation(state_of: Callable[..., StudyState]) -> None:
    found = first_level(state_of(search_seed=2, score_search=False))
    assert (found.compared, found.basis) == ("equal seeds", "validation")


# --- other seeds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arms", [{}, RANDOM])
@pytest.mark.parametrize("by", [-2.0, 0.34, 2.0])
def test_what_the_search_scored_under_another_seed_decides_nothing(
    state_of: Callable[..., StudyState], arms: dict[str, Any], by: float
) -> None:
    state = state_of(**arms)
    found = find(gather(state)).break_evens
    assert {level.compared for level in found} == {"confirmed incumbent"}
    shifted(state, lambda trial: trial.role == "search", by)
    assert find(gather(state)).break_evens == found


def test_the_confirmed_incumbent_bounds_it(state_of: Callable[..., StudyState]) -> None:
    state = state_of(cov_gain=-0.3)
    found = first_level(state)
    incumbent = state.searches["tuned", 0].incumbent
    order = ended(state)
    place = [trial.key for trial in order].index(incumbent or "")
    assert place > 0
    assert found.at_most
    assert not found.first_trial
    assert found.result.num_trials == place + 1
    assert found.result.device_seconds == pytest.approx(sum(t.device_seconds for t in order[: place + 1]))
    assert list(found.seeds) == [1, 2, 3]
    assert found.targets == pytest.approx([np.mean([psnr(state.trials[f"cov-s{s}"]) for s in (1, 2, 3)]) - 0.1])
    text = words(state)
    assert text.startswith("The final incumbent of the search reaches the PSNR of CoV less the margin, both trained")
    assert f"at most {place + 1} trials" in text
    assert "they were trained under seed 0 alone" in text


def test_a_confirmed_incumbent_that_falls_short_is_censored(state_of: Callable[..., StudyState]) -> None:
    state = state_of(cov_gain=5.0)
    found = first_level(state)
    assert (found.result.censored, found.at_most, found.first_trial) == (True, False, False)
    assert "break-even lies beyond" in words(state)


def test_only_seeds_of_both_sides_count(state_of: Callable[..., StudyState]) -> None:
    state = state_of(confirm_seeds=(3, 4), cov_gain=-0.3)
    found = first_level(state)
    assert list(found.seeds) == [3]
    assert found.targets == pytest.approx([psnr(state.trials["cov-s3"]) - 0.1])
    shifted(state, lambda trial: trial.role == "confirmation" and trial.seed == 4, 9.0)
    assert first_level(state) == found


def test_nothing_is_said_where_no_seed_is_shared(say: Callable[[FakeStudy], Any]) -> None:
    said = say(FakeStudy(**(SMALL | MARGIN), confirm_seeds=(7, 8)))
    assert said.summary["break_even"] == {"rho": None, "device_seconds": None, "censored": None, "levels": []}
    text = said.summary["verdict"]["break_even"]
    assert "the search trained under seed 0, CoV under seeds 1, 2 and 3" in text
    assert text in html.unescape(said.page)


# --- the first trial ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arms", [{}, RANDOM])
@pytest.mark.parametrize("seeds", [{"search_seed": 2}, {}])
def test_equal_weights_that_reach_it_are_named(
    say: Callable[[FakeStudy], Any], arms: dict[str, Any], seeds: dict[str, Any]
) -> None:
    said = say(FakeStudy(**(SMALL | MARGIN | arms | seeds), cov_gain=-3.0))
    levels = said.summary["break_even"]["levels"]
    assert [(level["num_trials"], level["first_trial"], level["at_most"]) for level in levels] == [(1, True, False)] * 2
    text = said.summary["verdict"]["break_even"]
    assert text.startswith("Equal weights already reach the PSNR of CoV less the margin, both trained under seed")
    assert "equal weights, the first trial, already reach it" in said.page


def test_equal_weights_are_compared_under_the_seeds_that_they_have(state_of: Callable[..., StudyState]) -> None:
    state = state_of(cov_gain=-3.0)
    for key in ("equal-s2", "equal-s3"):
        del state.trials[key]
    found = first_level(state)
    assert (found.first_trial, list(found.seeds)) == (True, [1])
    assert found.targets == pytest.approx([psnr(state.trials["cov-s1"]) - 0.1])


def test_the_first_trial_is_number_0_whenever_it_ends(state_of: Callable[..., StudyState]) -> None:
    """Its worker died and it was trained again, so that others of the search ended before it."""
    state = state_of(**RANDOM)
    last = state.trials["tuned-r0-t000"].attempts[-1]
    last.ended = (last.ended or 0.0) + 1000.0
    order = ended(state)
    assert order[0].number != 0
    evidence = gather(state)
    (search,) = evidence.arms["tuned"].searches
    assert search.trials[search.first].number == 0
    v, _ = tuning.drawn_trials(evidence.arms["tuned"], "max")
    first = max(m.metrics["val/psnr"] for m in state.trials["tuned-r0-t000"].measurements)
    assert len(v) == len(order) - 1
    assert first not in v


# --- regret and figures ---------------------------------------------------------------------------------------------


def test_regret_knows_trainings_under_its_own_seed_alone(state_of: Callable[..., StudyState]) -> None:
    state = state_of(search_seed=2)
    regret = find(gather(state)).searches[0].regret
    assert regret is not None
    shifted(state, lambda trial: trial.seed != 2, 4.0)
    assert find(gather(state)).searches[0].regret == regret
    shifted(state, lambda trial: trial.key == "cov-s2", 4.0)
    assert find(gather(state)).searches[0].regret != regret


@pytest.mark.parametrize(("seed", "line"), [(0, "seeds 1, 2 and 3"), (2, "seed 2")])
def test_figures_say_whose_seed(state_of: Callable[..., StudyState], seed: int, line: str) -> None:
    findings: Findings = find(gather(state_of(search_seed=seed)))
    with styled():
        curve, scatter = tuning.draw(findings), cost_quality.draw(findings)
    assert curve is not None
    assert f"cov, one training ({line})" in curve.svg
    assert f"tuned: incumbent as observed (seed {seed})" in curve.svg
    assert ("says little" in curve.caption) == (seed == 0)
    assert f"less the margin ({line})" in scatter.svg
    assert f"trials were trained under seed {seed}" in scatter.caption
