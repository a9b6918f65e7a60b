"""On a GPU: a training step never waits for the device, and the weights are those of the CPU."""

import pytest
import torch

from tests.weighting.streams import SPECS, losses_of, make, name_of, stream
from trainables.losses import TERMS, LossTerms

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def waiting_is_an_error():
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec["name"] != "geometric-mean"], ids=name_of)
def test_a_step_does_not_wait_and_weighs_as_on_the_cpu(spec, waiting_is_an_error):
    on_cpu, shared_cpu = make(spec)
    weighting, shared = make(spec)
    weighting.cuda()
    shared.data = shared.data.cuda()
    for values in list(stream(4, 8)):
        on_cpu(losses_of(values, shared_cpu))
        torch.cuda.set_sync_debug_mode("default")
        values = values.cuda()
        torch.cuda.set_sync_debug_mode("error")
        weighting(losses_of(values, shared)).backward()
    torch.cuda.set_sync_debug_mode("default")
    assert torch.allclose(weighting.weights.cpu(), on_cpu.weights, atol=1e-5)


def test_the_terms_do_not_wait(waiting_is_an_error):
    torch.cuda.set_sync_debug_mode("default")
    prediction, target = torch.rand(2, 2, 1, 32, 32, device="cuda")
    mask = torch.ones(2, 1, 32, 32, dtype=torch.bool, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    LossTerms(list(TERMS))(prediction.requires_grad_(), target, mask).sum().backward()
