"""The parts that figures are made of."""

from pathlib import Path

import numpy as np
import pytest
from fake_study import FakeStudy
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.arm import Range
from search_spaces.importance import importances
from study.record.record import load_state
from study.record.state import Attempt
from study.report.evidence import gather
from study.report.figures.images import chosen_subjects, load_samples
from study.report.figures.labels import spread
from study.report.figures.style import COLOURS, competitors, window
from study.report.figures.timeline import assign_lanes
from study.report.formats import clean, short
from trainables.task import Device

DEVICES = {name: Device(name=name, uuid=None, node="here") for name in "ab"}

heights = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(heights)
def test_labels_keep_their_order_and_their_distance(positions: list[float]) -> None:
    placed = spread(positions, 0.1)
    order = np.argsort(positions, kind="stable")
    assert (np.diff(np.array(placed)[order]) >= 0.1 - 1e-9).all()
    assert np.mean(placed) == pytest.approx(np.mean(positions), abs=1e-9)


def test_labels_that_do_not_touch_stay_where_they_are() -> None:
    assert spread([0.9, 0.1, 0.5], 0.2) == [0.9, 0.1, 0.5]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 8), st.sampled_from("ab")), min_size=1, max_size=25))
def test_bars_of_one_lane_never_overlap(spans: list[tuple[int, int, str]]) -> None:
    attempts = [
        Attempt(number=1, started=float(start), share=1.0, device=DEVICES[device], ended=float(start + length))
        for start, length, device in spans
    ]
    lanes = assign_lanes(attempts)
    for i, one in enumerate(attempts):
        for j in range(i):
            other = attempts[j]
            if lanes[i] == lanes[j]:
                assert one.device == other.device
                assert one.started >= other.ended or other.started >= one.ended
    busiest = max(sum(a.started <= t < a.ended for a in attempts) for t in range(30))
    assert len(set(lanes)) >= busiest


def test_a_window_has_its_better_end_last() -> None:
    assert window([1.0, 2.0], "max", worse=1.0, better=0.5) == (0.0, 2.5)
    assert window([1.0, 2.0], "min", worse=1.0, better=0.5) == (3.0, 0.5)
    low, high = window([24.0], "max")
    assert low < 24.0 < high


def test_a_single_loss_competes_only_if_it_beats_somebody(tmp_path: Path) -> None:
    evidence = gather(load_state(FakeStudy(images=False, num_trials=1).write(tmp_path / "study")))
    quality = {"single-l1": 24.5, "single-ssim": 20.0, "equal": 24.0, "tuned": 24.2, "cov": 24.4}
    assert competitors(evidence, quality, "max") == ["single-l1", "equal", "tuned", "cov"]
    assert competitors(evidence, quality, "min") == ["single-ssim", "equal", "tuned", "cov"]
    assert competitors(evidence, {"single-l1": 1.0}, "max") == ["single-l1"]


def test_subjects_are_chosen_by_the_stated_rule(whole: Path) -> None:
    evidence = gather(load_state(whole))
    samples = load_samples(evidence, whole)
    assert samples is not None
    chosen = chosen_subjects(evidence, samples)
    scores = dict(zip(evidence.subjects, evidence.arms["cov"].per_subject("mask", "psnr"), strict=True))
    assert chosen["best"] == max(scores, key=lambda s: scores[s])
    assert chosen["worst"] == min(scores, key=lambda s: scores[s])
    median = np.median(list(scores.values()))
    assert chosen["typical"] == min(scores, key=lambda s: abs(scores[s] - median))


def test_images_are_read_from_the_study_alone(whole: Path, tmp_path: Path) -> None:
    evidence = gather(load_state(whole))
    assert load_samples(evidence, tmp_path) is None
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "reference.safetensors").write_bytes(b"not a tensor")
    assert load_samples(evidence, tmp_path) is None


def test_every_colour_is_told_from_every_other_in_both_themes() -> None:
    for theme in (0, 1):
        assert len({pair[theme] for pair in COLOURS.values()}) == len(COLOURS)


def test_names_lose_what_could_mislead() -> None:
    assert clean("a\u202eb\x1b[0m\n\ud800é中") == "a\ufffdb\ufffd[0m\ufffd\ufffdé中"
    assert short("x" * 40) == "x" * 27 + "…"


def test_the_weight_that_matters_is_found() -> None:
    rng = np.random.default_rng(0)
    points = [{f"log_ratio/{term}": float(rng.uniform(-4, 4)) for term in "abc"} for _ in range(40)]
    values = [-((point["log_ratio/b"] - 1) ** 2) for point in points]
    space = {name: Range(low=-4.0, high=4.0) for name in points[0]}
    found = importances(points, values, goal="max", space=space)
    assert max(found, key=lambda name: found[name]) == "log_ratio/b"
    assert sum(found.values()) == pytest.approx(1.0)
    turned = importances(points, [-value for value in values], goal="min", space=space)
    assert turned == pytest.approx(found)


def test_importance_is_not_made_up() -> None:
    points = [{"log_ratio/a": float(i), "log_ratio/b": 0.0} for i in range(-2, 2)]
    space = {name: Range(low=-4.0, high=4.0) for name in points[0]}
    assert importances([], [], goal="max", space=space) == {}
    assert importances(points, [1.0, 2.0, 3.0, 4.0], goal="max", space=space) == {}
    assert importances(points * 3, [1.0] * 12, goal="max", space=space) == {}
    alone = [{"log_ratio/a": 1.0 * i} for i in range(-4, 5)]
    assert importances(alone, list(range(9)), goal="max", space=space) == {}
