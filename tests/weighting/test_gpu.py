"""On a GPU: a training step never waits for the device, and the weights are those of the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from tests.weighting.streams import SPECS, losses_of, make, name_of, stream
from trainables.errors import UserError
from trainables.losses import TERMS, LossTerms

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec["name"] != "geometric-mean"], ids=name_of)
def test_a_step_does_not_wait_and_weighs_as_on_the_cpu(spec):
    on_cpu, shared_cpu = make(spec)
    weighting, shared = make(spec)
    weighting.cuda()
    shared.data = shared.data.cuda()
    for values in stream(4, 8):
        on_cpu(losses_of(values, shared_cpu))
        values = values.cuda()
        with waiting_is_an_error():
            weighting(losses_of(values, shared)).backward()
        assert torch.allclose(weighting.weights.cpu(), on_cpu.weights, atol=1e-5)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec["name"] != "geometric-mean"], ids=name_of)
def test_a_negative_loss_spoils_the_total_without_waiting(spec):
    weighting, shared = make(spec)
    if not weighting.refuses_negative:
        return
    weighting.cuda()
    shared.data = shared.data.cuda()
    losses = torch.tensor([1.0, 1.0, -0.5, 1.0]).cuda()
    with waiting_is_an_error():
        total = weighting(losses_of(losses, shared))
        total.backward()
    assert total.isnan()
    assert shared.grad.isnan().all()
    with pytest.raises(UserError, match="loss number 2 is negative"):
        weighting.check()


def test_the_terms_do_not_wait():
    prediction, target = torch.rand(2, 2, 1, 32, 32, device="cuda")
    mask = torch.ones(2, 1, 32, 32, dtype=torch.bool, device="cuda")
    terms = LossTerms(list(TERMS))
    with waiting_is_an_error():
        terms(prediction.requires_grad_(), target, mask).sum().backward()
