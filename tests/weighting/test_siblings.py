"""Each weighting beside CoV against values worked out by hand from its paper."""

from itertools import pairwise
from math import exp

import pytest
import torch
from torch import nn
from torchjd import scalarization

from trainables.errors import UserError
from trainables.weighting import ScalarizerWeighting, make_weighting


def train(weighting, *losses):
    """Steps on losses (K,); returns the last weights."""
    for loss in losses:
        weighting(torch.tensor(loss))
    return weighting.weights.tolist()


def softmax(*values):
    powers = [exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def test_fixed_weights_are_scaled_to_sum_to_1():
    weighting = make_weighting({"name": "fixed", "weights": [1, 0, 3]}, 3)
    assert train(weighting, [5.0, 6.0, 7.0]) == [0.25, 0, 0.75]


def test_a_single_term_is_trained_alone():
    assert train(make_weighting({"name": "single", "term": 1}, 3), [5.0, 6.0, 7.0]) == [0, 1, 0]


def test_inverse_initial_losses_are_those_of_the_first_step_with_finite_ones():
    weighting = make_weighting({"name": "inverse-initial"}, 2)
    assert train(weighting, [float("nan"), 1.0]) == [0.5, 0.5]
    assert train(weighting, [4.0, 1.0]) == pytest.approx([0.2, 0.8])
    assert train(weighting, [1.0, 100.0]) == pytest.approx([0.2, 0.8])


@pytest.mark.parametrize("name", ["uncertainty", "imtl-l"])
def test_learned_scales_settle_where_each_weighted_loss_is_equal(name):
    # Both have their minimum at weights proportional to 1 / L_i, whatever the common factor.
    weighting = make_weighting({"name": name}, 2)
    optimiser = torch.optim.Adam(weighting.parameters(), lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        weighting(torch.tensor([1.0, 3.0])).backward()
        optimiser.step()
    assert weighting.weights.tolist() == pytest.approx([0.75, 0.25], abs=1e-3)


def test_dwa_weighs_by_the_ratio_of_two_epochs_means():
    weighting = make_weighting({"name": "dwa", "temperature": 2.0, "epoch_steps": 2}, 2)
    first_epoch, second_epoch = [[1.0, 2.0], [3.0, 2.0]], [[1.0, 1.0], [1.0, 3.0]]
    assert train(weighting, *first_epoch, *second_epoch) == [0.5, 0.5]
    # Means (2, 2), then (1, 2).
    expected = softmax(0.5 / 2, 1.0 / 2)
    assert train(weighting, [9.0, 9.0]) == pytest.approx(expected)
    assert train(weighting, [9.0, 9.0]) == pytest.approx(expected)
    # Means (1, 2), then (9, 9).
    assert train(weighting, [1.0, 1.0]) == pytest.approx(softmax(9 / 2, 4.5 / 2))


def test_random_weights_follow_the_seed_and_leave_the_global_generator_alone():
    def draws(seed):
        weighting = make_weighting({"name": "random"}, 3, seed=seed)
        return [train(weighting, [1.0, 1.0, 1.0]) for _ in range(400)]

    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert draws(1) == draws(1) != draws(2)
    assert torch.equal(torch.rand(3), expected)
    mean = torch.tensor(draws(1)).mean(0)
    assert mean.tolist() == pytest.approx([1 / 3] * 3, abs=0.04)


def test_the_geometric_mean_weighs_by_the_inverse_losses():
    assert train(make_weighting({"name": "geometric-mean"}, 2), [1.0, 3.0]) == pytest.approx([0.75, 0.25])


def test_stch_is_a_softmax_of_the_losses():
    weighting = make_weighting({"name": "stch", "mu": 0.5}, 2)
    assert train(weighting, [1.0, 3.0]) == pytest.approx(softmax(0.5 / 0.5, 1.5 / 0.5))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, softmax(0.1 * -1, 0.1 * 1)),
        ({"beta": 2.0}, softmax(-2, 2)),
        ({"beta": 2.0, "normalised": True}, softmax(-1, 1)),
        ({"loss_weighted": True}, [exp(-0.1) / (exp(-0.1) + 3 * exp(0.1)), 3 * exp(0.1) / (exp(-0.1) + 3 * exp(0.1))]),
    ],
)  # fmt: skip
def test_softadapt_weighs_by_the_change_of_the_losses(options, expected):
    weighting = make_weighting({"name": "softadapt", **options}, 2)
    assert train(weighting, [2.0, 2.0]) == [0.5, 0.5]
    assert train(weighting, [1.0, 3.0]) == pytest.approx(expected)


@pytest.mark.parametrize("lookback", [0.0, 1.0])
def test_relobralo_by_hand(lookback):
    spec = {"name": "relobralo", "alpha": 0.6, "temperature": 2.0, "lookback": lookback}
    weighting = make_weighting(spec, 2)
    assert train(weighting, [2.0, 4.0]) == [0.5, 0.5]
    second = softmax(1 / 2 / 2, 8 / 4 / 2)
    # The previous step is the first: without lookback the history is the previous weights.
    history = [0.5, 0.5] if lookback else second
    expected = [0.6 * h + 0.4 * s for h, s in zip(history, second, strict=True)]
    assert train(weighting, [1.0, 8.0]) == pytest.approx(expected)
    previous, first = softmax(3 / 1 / 2, 8 / 8 / 2), softmax(3 / 2 / 2, 8 / 4 / 2)
    history = expected if lookback else first
    expected = [0.6 * h + 0.4 * p for h, p in zip(history, previous, strict=True)]
    assert train(weighting, [3.0, 8.0]) == pytest.approx(expected)


def test_relobralo_looks_back_as_often_as_it_is_told():
    # With alpha = 1 the weights change only in the steps that look back to the first.
    spec = {"name": "relobralo", "alpha": 1.0, "temperature": 1.0, "lookback": 0.7}
    weighting = make_weighting(spec, 2, seed=4)
    seen = [train(weighting, [1 + step / 1000, 1.0]) for step in range(1000)]
    changes = sum(now != before for before, now in pairwise(seen))
    assert changes / 1000 == pytest.approx(0.3, abs=0.05)


class TestGradNorm:
    """Two losses a * w and b * w of one shared weight: gradient norms a and b, known exactly."""

    def make(self, **options):
        shared = nn.Parameter(torch.ones(1, 1))
        weighting = make_weighting({"name": "gradnorm", **options}, 2)
        weighting.attach([shared])
        return weighting, shared

    def test_the_first_step_moves_each_weight_by_the_learning_rate(self):
        weighting, shared = self.make(learning_rate=0.1, alpha=0.0)
        weighting(torch.tensor([1.0, 3.0]) * shared.squeeze())
        # Norms 1 and 3, mean 2: the first is too small, the second too large. Adam's first step is the rate.
        assert weighting.raw.tolist() == pytest.approx([1.1, 0.9], abs=1e-6)
        assert weighting.weights.tolist() == [0.5, 0.5]
        weighting(torch.tensor([1.0, 3.0]) * shared.squeeze())
        assert weighting.weights.tolist() == pytest.approx([0.55, 0.45], abs=1e-6)

    def test_it_equalises_the_norms_of_weighted_gradients(self):
        weighting, shared = self.make(alpha=0.0, learning_rate=0.005)
        for _ in range(400):
            weighting(torch.tensor([1.0, 3.0]) * shared.squeeze())
        assert weighting.weights.tolist() == pytest.approx([0.75, 0.25], abs=0.02)

    def test_a_term_that_trains_more_slowly_gets_the_larger_gradient(self):
        weighting, shared = self.make(alpha=1.0, learning_rate=0.005)
        for step in range(400):
            # The same gradient norms, but the first loss stays while the second falls to a third.
            values = torch.tensor([3.0, 3.0 if step == 0 else 1.0])
            weighting(values + (shared - shared.detach()).squeeze())
        # r = (1, 1/3) / (2/3) = (3/2, 1/2): norms in the ratio 3 to 1.
        assert weighting.weights.tolist() == pytest.approx([0.75, 0.25], abs=0.02)

    def test_of_a_network_it_takes_the_last_layers_weight(self):
        weighting, _ = self.make()
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 1))
        weighting.attach(network)
        assert [parameter is network[1].weight for parameter in weighting._shared] == [True]

    def test_without_shared_parameters_it_says_what_to_do(self):
        weighting = make_weighting({"name": "gradnorm"}, 2)
        with pytest.raises(UserError, match=r"call attach\(network\) before training"):
            weighting(torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize("name", ["DWA", "UW", "IMTLL"])
def test_a_scalarizer_that_learns_is_no_fixed_one(name):
    scalarizer = getattr(scalarization, name)(*([] if name == "DWA" else [2]))
    with pytest.raises(UserError, match=f"{name} learns: take DWAWeighting, UncertaintyWeighting or IMTLLWeighting"):
        ScalarizerWeighting(2, scalarizer)
