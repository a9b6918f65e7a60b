"""DWA, written out, weighs to the bit as TorchJD's does; its history survives a change of how it is kept."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchjd.scalarization import DWA

from tests.weighting.streams import stream
from trainables.weighting import DWAWeighting


class Reference:
    """The weights by TorchJD's scalarizer: its slopes, scaled to sum to 1."""

    def __init__(self, num_terms: int, temperature: float, epoch_steps: int) -> None:
        self.scalarizer, self.epoch_steps, self.num_steps = DWA(temperature), epoch_steps, 0
        self.last = torch.ones(num_terms)
        self.weights = torch.full((num_terms,), 1 / num_terms)

    def __call__(self, losses: torch.Tensor) -> torch.Tensor:
        self.last = losses if losses.isfinite().all() else self.last
        point = self.last.clamp(1e-12, 1e12).requires_grad_()
        (slopes,) = torch.autograd.grad(self.scalarizer(point), point)
        weights = slopes / slopes.sum()
        self.weights = weights if weights.isfinite().all() else self.weights
        self.num_steps += 1
        if self.num_steps % self.epoch_steps == 0:
            self.scalarizer.step()
        return self.weights


@settings(max_examples=60, deadline=None)
@given(
    num_terms=st.integers(1, 9),
    temperature=st.sampled_from([1e-30, 0.1, 0.5, 2.0, 7.3]),
    epoch_steps=st.integers(1, 7),
    seed=st.integers(0, 2**16),
    special=st.sampled_from([None, 0.0, 1e-30, 1e30, torch.nan, torch.inf]),
)
def test_it_weighs_as_torchjds_to_the_bit(num_terms, temperature, epoch_steps, seed, special):
    weighting = DWAWeighting(num_terms, temperature=temperature, epoch_steps=epoch_steps)
    reference = Reference(num_terms, temperature, epoch_steps)
    for number, losses in enumerate(stream(num_terms, 30, seed)):
        if special is not None and number % 11 == 5:
            losses[number % num_terms] = special
        weighting(losses)
        assert torch.equal(weighting.weights, reference(losses))


def history(steps: int) -> dict:
    """What the weighting wrote down after so many steps on losses (1, 1), (2, 1), (3, 1), ... in epochs of two."""
    means = [torch.tensor([1.5 + 2 * epoch, 1.0]) for epoch in range(steps // 2)][-2:]
    return {
        "sum": torch.tensor([float(steps), 1.0]) if steps % 2 else None,
        "num_batches": steps % 2,
        "means": means,
    }


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 7])
def test_a_state_of_before_the_history_lay_in_buffers_is_gone_on_from(steps):
    weighting = DWAWeighting(2, temperature=0.5, epoch_steps=2)
    for number in range(steps):
        weighting(torch.tensor([number + 1.0, 1.0]))
    state = weighting.state_dict()
    old = {name: value for name, value in state.items() if name not in ("sums", "num_summed", "means")}
    restored = DWAWeighting(2, temperature=0.5, epoch_steps=2)
    restored.load_state_dict(old | {"_extra_state": history(steps)})
    for number in range(steps, steps + 6):
        losses = torch.tensor([number + 1.0, 1.0])
        assert torch.equal(restored(losses), weighting(losses))
    assert str(restored.state_dict()) == str(weighting.state_dict())


def test_a_compiled_step_is_one_graph_with_the_same_weights():
    torch._dynamo.reset()
    weighting, eager = (DWAWeighting(4, epoch_steps=2) for _ in range(2))
    step = torch.compile(weighting, fullgraph=True, backend="aot_eager_decomp_partition")
    for losses in stream(4, 8):
        assert step(losses).item() == pytest.approx(eager(losses).item(), rel=1e-6)
        assert torch.allclose(weighting.weights, eager.weights, atol=1e-6)
