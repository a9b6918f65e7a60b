"""The optimiser is torch's to the bit, and does not load torch's compiler."""

import subprocess
import sys

import torch

from trainables.optimiser import Adam


def trained(optimiser_class: type[torch.optim.Optimizer], num_steps: int, state: dict | None = None):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
    optimiser = optimiser_class(network.parameters(), lr=0.01, weight_decay=0.1, fused=True)
    if state is not None:
        optimiser.load_state_dict(state)
    for step in range(num_steps):
        optimiser.zero_grad(set_to_none=True)
        network(torch.full((2, 5), 1.0 + step)).square().sum().backward()
        optimiser.step()
    return list(network.parameters()), optimiser.state_dict()


def test_it_takes_the_steps_of_torch_and_goes_on_from_its_state():
    ours, state = trained(Adam, 4)
    torchs, its_state = trained(torch.optim.Adam, 4)
    assert all(torch.equal(one, other) for one, other in zip(ours, torchs, strict=True))
    ours, state = trained(Adam, 3, its_state)
    torchs, its_state = trained(torch.optim.Adam, 3, state=trained(torch.optim.Adam, 4)[1])
    assert all(torch.equal(one, other) for one, other in zip(ours, torchs, strict=True))
    torch.testing.assert_close(state, its_state, rtol=0, atol=0)


def test_a_state_from_a_device_with_another_layout_is_gone_on_from():
    def convolved(first: torch.memory_format, then: torch.memory_format) -> torch.Tensor:
        """Two steps, the second from a state that was saved with its parameter laid out as in the first."""
        torch.manual_seed(0)
        weight, images = torch.rand(8, 4, 3, 3), torch.rand(2, 4, 9, 9)
        state = None
        for layout in (first, then):
            parameter = torch.nn.Parameter(weight.clone(memory_format=layout))
            optimiser = Adam([parameter], lr=0.01, fused=True)
            if state is not None:
                optimiser.load_state_dict(state)
            torch.nn.functional.conv2d(images, parameter).square().mean().backward()
            optimiser.step()
            state, weight = optimiser.state_dict(), parameter.detach()
        return weight

    alike = convolved(torch.channels_last, torch.channels_last)
    for first, then in ((torch.contiguous_format, torch.channels_last), (torch.channels_last, torch.contiguous_format)):
        torch.testing.assert_close(convolved(first, then), alike)


def test_no_gradient_flows_through_a_step():
    (weight, *_), _ = trained(Adam, 1)
    assert weight.requires_grad
    assert weight.is_leaf
    assert weight.grad_fn is None


def test_a_training_does_not_load_the_compiler():
    script = """
import sys, torch
from trainables.optimiser import Adam
weight = torch.nn.Parameter(torch.ones(3))
optimiser = Adam([weight], lr=0.1, fused=True)
optimiser.zero_grad()
weight.sum().backward()
optimiser.step()
optimiser.load_state_dict(optimiser.state_dict())
print(sorted(name for name in sys.modules if name in ("torch._dynamo", "sympy")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
