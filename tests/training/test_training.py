"""The training loop: reproducible to the bit, resumable anywhere, honest about failure and cost."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trainables.baselines import baseline_scores, fit_intensity_map
from trainables.checkpoint import BEFORE, NEWEST
from trainables.cohort import Augmentation
from trainables.config import NetworkConfig, TrainingConfig
from trainables.meter import Meter
from trainables.networks import make_network
from trainables.training import Training, TrainingDiverged
from trainables.weighting import make_weighting

TERMS = ("l1", "gradient")
CONFIG = TrainingConfig(
    network=NetworkConfig(channels=(4, 8), strides=(2,)), epochs=4, steps_per_epoch=3, batch_size=4, learning_rate=1e-2
)
SPECS = [
    {"name": "equal"},
    {"name": "cov"},
    {"name": "uncertainty"},
    {"name": "random"},
    {"name": "dwa"},
    {"name": "gradnorm"},
]


def training(cohort, *, config=CONFIG, spec=None, terms=TERMS, seed=3) -> Training:
    weighting = make_weighting(spec or {"name": "cov"}, len(terms), seed=seed, names=terms)
    return Training(config, cohort, terms=terms, weighting=weighting, seed=seed, meter=Meter(taken=0.0))


def numbers(training: Training) -> list[tuple]:
    return [(m.epoch, m.step, m.metrics, m.weights) for m in training.measurements]


def run(training: Training, epochs: int | None = None) -> Training:
    for _ in range(epochs or CONFIG.epochs - training.epoch):
        training.run_epoch()
    return training


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["name"])
@pytest.mark.parametrize("stop", [1, 3])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(cohort, tmp_path, spec, stop):
    whole = run(training(cohort, spec=spec))
    first = run(training(cohort, spec=spec), stop)
    first.save(tmp_path)
    second = training(cohort, spec=spec)
    assert second.resume(tmp_path)
    run(second)
    assert numbers(second) == numbers(whole)
    assert second.test()[0] == whole.test()[0]


def test_augmentation_resumes_to_the_same_bits_too(cohort, tmp_path):
    config = CONFIG.model_copy(update={"augmentation": Augmentation()})
    whole = run(training(cohort, config=config))
    first = run(training(cohort, config=config), 2)
    first.save(tmp_path)
    second = training(cohort, config=config)
    second.resume(tmp_path)
    assert numbers(run(second)) == numbers(whole)
    assert numbers(whole) != numbers(run(training(cohort)))


def test_all_arms_start_alike_and_see_the_same_batches(cohort):
    one, other = training(cohort, spec={"name": "equal"}), training(cohort, spec={"name": "cov"}, terms=("l1", "ssim"))
    for a, b in zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for epoch in range(4):
        assert (one._order(epoch) == other._order(epoch)).all()
    assert one.initial_losses(("l1", "ssim")) == other.initial_losses(("l1", "ssim"))


def test_another_seed_is_another_training(cohort):
    assert numbers(run(training(cohort, seed=1))) != numbers(run(training(cohort, seed=2)))


def test_a_pass_over_the_data_sees_every_training_slice_once(cohort):
    config = CONFIG.model_copy(update={"steps_per_epoch": None})
    rows = training(cohort, config=config)._order(0)
    assert sorted(rows) == list(range(15))


def test_a_residual_network_starts_from_the_source(cohort):
    network = make_network(CONFIG.network, in_channels=3, seed=0)
    images = torch.rand(2, 3, 16, 24)
    assert torch.equal(network(images), images[:, 1:2])


def test_on_validation_each_subject_weighs_equally(cohort):
    """Two scans of one subject and one of another: the mean of the first two, and the third, not a mean of three."""
    splits = ("train", "test", "train", "validation", "validation", "validation")
    scans = [replace(s, split=split) for s, split in zip(cohort.subjects, splits, strict=True)]
    several = [replace(s, scan_of="subject-003") if s.pseudonym[-1] in "34" else s for s in scans]
    alone = run(training(replace(cohort, subjects=tuple(scans))), epochs=1)
    each = [scores["mask"]["psnr"] for scores in alone._scores("validation").values()]
    assert alone.validate()["psnr"] == np.mean(each)
    averaged = run(training(replace(cohort, subjects=tuple(several))), epochs=1).validate()["psnr"]
    assert averaged == pytest.approx((np.mean(each[:2]) + each[2]) / 2)
    assert averaged != pytest.approx(np.mean(each), abs=1e-3)


def test_what_a_finished_training_leaves_behind(cohort, tmp_path):
    trained = run(training(cohort))
    trained.finish(tmp_path)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert set(scores) == {"subject-004", "subject-005"}
    assert set(scores["subject-004"]) == {"mask", "volume", "lesion"}
    assert load_file(tmp_path / "slices.safetensors")["prediction"].shape == (2, 16, 24)
    card = json.loads((tmp_path / "model.json").read_text())
    assert (card["in_channels"], card["terms"], card["best_epoch"]) == (1, list(TERMS), trained.best_epoch)
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("damage", [b"", b"garbage", "half"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(cohort, tmp_path: Path, damage):
    first = run(training(cohort), 1)
    first.save(tmp_path)
    run(first, 1)
    first.save(tmp_path)
    newest = tmp_path / NEWEST
    data = newest.read_bytes()
    newest.write_bytes(data[: len(data) // 2] if damage == "half" else damage)
    second = training(cohort)
    assert second.resume(tmp_path)
    assert second.epoch == 1
    assert numbers(run(second)) == numbers(run(training(cohort)))
    (tmp_path / BEFORE).write_bytes(b"also")
    assert not training(cohort).resume(tmp_path)


def test_a_checkpoint_is_never_unpickled(cohort, tmp_path: Path):
    torch.save({"seed": 3, "epoch": Path("/tmp")}, tmp_path / NEWEST)  # a class that only pickle could make
    assert not training(cohort).resume(tmp_path)


def test_a_loss_that_is_not_finite_ends_the_training_and_is_named(cohort):
    config = CONFIG.model_copy(update={"learning_rate": 1e30})
    diverging = training(cohort, config=config)
    with pytest.raises(TrainingDiverged, match=r"loss l1 = (nan|inf)"):
        run(diverging)


def test_losses_inside_the_mask_ignore_what_is_outside(cohort):
    config = CONFIG.model_copy(update={"masked_losses": True})
    inside = training(cohort, config=config).initial_losses(("l1",))["l1"]
    source, target, mask = training(cohort, config=config)._batch(training(cohort)._order(0)[:4])
    assert inside == pytest.approx((source - target).abs()[mask].mean().item(), rel=1e-5)


def test_costs_are_clocked_apart():
    now = [100.0]
    cpu = [5.0]
    meter = Meter(taken=90.0, share=0.5, clock=lambda: now[0], cpu_clock=lambda: cpu[0], peak=lambda: 7)
    now[0] = 104.0
    meter.end_setup()
    with meter.measure("train"):
        now[0] += 20
        cpu[0] += 11
    with suppress(ValueError), meter.measure("eval"):
        now[0] += 3
        raise ValueError("a failed evaluation took time too")
    cost = meter.cost()
    assert (cost.setup_seconds, cost.train_seconds, cost.eval_seconds) == (14, 20, 3)
    assert cost.device_seconds == (127 - 90) * 0.5
    assert (cost.cpu_seconds, cost.peak_bytes, cost.energy_joules) == (11, 7, None)


def test_the_intensity_map_is_the_least_squares_cubic(cohort):
    fitted = fit_intensity_map(cohort)
    rows = list(range(15))
    residual = cohort.target[rows][cohort.mask[rows]] - fitted(cohort.source[rows][cohort.mask[rows]])
    for power in range(4):  # normal equations
        assert abs((residual * cohort.source[rows][cohort.mask[rows]] ** power).mean()) < 1e-5


def test_the_identity_scores_the_source_itself(cohort):
    scores = baseline_scores(cohort)
    rows = slice(20, 25)
    error = (cohort.source[rows] - cohort.target[rows])[cohort.mask[rows]]
    assert scores["identity"]["subject-004"]["mask"]["rmse"] == pytest.approx((error**2).mean() ** 0.5, rel=1e-5)
    assert scores["intensity_map"]["subject-004"]["mask"]["psnr"] > scores["identity"]["subject-004"]["mask"]["psnr"]
