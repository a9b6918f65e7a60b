"""On a GPU: steps are recorded and replayed, and learn what steps that are taken one by one do."""

import warnings

import pytest
import torch

from tests.training.test_training import CONFIG, SPECS, TERMS, run, training
from trainables.config import NetworkConfig
from trainables.cuda_graphs import NetworkLosses, RecordedLosses
from trainables.hardware import reset_peak
from trainables.losses import TERMS as ALL_TERMS
from trainables.meter import Meter
from trainables.training import Training
from trainables.weighting import make_weighting

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

NETWORKS = {
    "plain": NetworkConfig(channels=(4, 8), strides=(2,)),
    "instance": NetworkConfig(channels=(4, 8), strides=(2,), norm="instance", num_res_units=2),
    "batch": NetworkConfig(channels=(4, 8), strides=(2,), norm="batch"),
}


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """The same kernels whoever launches them, and none that adds in an order of its own."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def make(cohort, *, config=CONFIG, spec=None, terms=TERMS, recorded=True) -> Training:
    weighting = make_weighting(spec or {"name": "cov"}, len(terms), seed=3)
    meter, device = Meter(taken=0.0), torch.device("cuda")
    made = Training(config, cohort, terms=terms, weighting=weighting, seed=3, meter=meter, device=device)
    assert isinstance(made._step, RecordedLosses) == (not weighting.takes_gradients)
    if not recorded:
        made._step = NetworkLosses(made.network, made.losses, config, device)
    return made


def on_gpu(cohort, **options) -> Training:
    return run(make(cohort, **options))


def numbers(training: Training) -> torch.Tensor:
    return torch.tensor([[*m.metrics.values(), *m.weights.values()] for m in training.measurements])


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["name"])
def test_replayed_steps_train_as_steps_taken_one_by_one(cohort, spec):
    # 15 training slices in batches of 4: the last batch has another shape
    config = CONFIG.model_copy(update={"steps_per_epoch": None})
    one, other = (numbers(on_gpu(cohort, config=config, spec=spec, recorded=r)) for r in (True, False))
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_so_do_other_networks_and_losses_inside_the_mask(cohort, network, masked):
    config = CONFIG.model_copy(update={"network": NETWORKS[network], "masked_losses": masked})
    one, other = (numbers(on_gpu(cohort, config=config, recorded=r)) for r in (True, False))
    assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def test_every_built_in_term_can_be_recorded(cohort):
    one, other = (numbers(on_gpu(cohort, terms=tuple(ALL_TERMS), recorded=r)) for r in (True, False))
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_training_on_a_gpu_learns_what_one_on_a_cpu_does(cohort):
    on_cpu = run(training(cohort))
    assert torch.allclose(numbers(on_gpu(cohort)), numbers(on_cpu), rtol=1e-2, atol=1e-3)


def test_a_training_that_was_stopped_goes_on(cohort, tmp_path):
    first = run(make(cohort), 2)
    first.save(tmp_path)
    second = make(cohort)
    assert second.resume(tmp_path)
    assert torch.allclose(numbers(run(second)), numbers(on_gpu(cohort)), rtol=1e-4, atol=1e-5)


def test_a_cohort_too_large_for_the_gpu_is_fetched_batch_by_batch(cohort, monkeypatch):
    whole = make(cohort, config=CONFIG.model_copy(update={"masked_losses": True}))
    monkeypatch.setattr("trainables.slices.SHARE", 0)
    parts = make(cohort, config=CONFIG.model_copy(update={"masked_losses": True}))
    assert whole.slices._resident
    assert not parts.slices._resident
    assert torch.allclose(numbers(run(whole)), numbers(run(parts)), rtol=1e-5)


def test_a_training_that_is_over_leaves_the_gpu_to_the_next(cohort):
    device = torch.device("cuda")
    left = []
    for _ in range(2):
        run(make(cohort), 1)
        reset_peak(device)
        left.append(torch.cuda.memory_allocated(device))
    assert left[0] == left[1]


def test_an_epoch_waits_for_the_gpu_once(cohort):
    warm = run(make(cohort), 1)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            warm._train_epoch()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len([w for w in seen if "called a synchronizing" in str(w.message)]) == 1
