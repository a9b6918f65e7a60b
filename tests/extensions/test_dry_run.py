"""What is tried on a small example: the built-in components pass, and each broken promise is named."""

from functools import partial

import pytest
import torch
from torch import nn

from tests.weighting.streams import SPECS, name_of
from trainables import dry_run
from trainables.config import NetworkConfig
from trainables.errors import UserError
from trainables.losses import TERMS
from trainables.metrics import Metric
from trainables.networks import make_network
from trainables.weighting import LossWeighting, make_weighting


@pytest.mark.parametrize("name", TERMS)
def test_built_in_terms_pass(name):
    dry_run.check_term(name, TERMS[name])


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_built_in_weightings_pass(spec):
    spec = {**spec, "weights": [1, 2, 3]} if "weights" in spec else spec
    dry_run.check_weighting(spec["name"], partial(make_weighting, spec, 3))


@pytest.mark.parametrize("in_channels", [1, 3])
def test_the_built_in_network_passes(in_channels):
    network = make_network(NetworkConfig(), in_channels=in_channels, seed=0)
    dry_run.check_network("unet", network, in_channels)


@pytest.mark.parametrize(
    ("term", "says"),
    [
        (lambda p, t, m: 1.0, "'mine' must return a tensor, not float"),
        (lambda p, t, m: (p - t).abs(), r"must return a scalar, not a tensor of shape \(2, 1, 128, 192\)"),
        (lambda p, t, m: (p - t).mean() / 0, "must be finite"),
        (lambda p, t, m: (p.detach() - t).abs().mean(), "cannot be differentiated"),
        (lambda p, t, m: (p - p.detach()).abs().sqrt().mean(), "has no finite gradient"),
        (lambda p, t: (p - t).abs().mean(), "on a small example, fails with TypeError: .*takes 2 positional arguments"),
        (lambda p, t, m: (p - t)[m.bool()].mean(), "fails with AttributeError"),
    ],
)
def test_a_term_that_breaks_a_promise_is_told_which(term, says):
    with pytest.raises(UserError, match=says):
        dry_run.check_term("mine", lambda *arguments: term(*arguments))


class Broken(LossWeighting):
    def __init__(self, num_terms, *, how="", **options):
        super().__init__(num_terms, **options)
        self.how, self.hidden = how, 0.0

    def next_weights(self, losses):
        weights = torch.full_like(losses, 1 / self.num_terms)
        self.hidden += 0.01
        changed = {
            "sum": 2 * weights,
            "negative": weights + torch.tensor([1.0, -1.0, 0.0]),
            "shape": weights[:2],
            "hidden state": weights + self.hidden * torch.tensor([1.0, -1.0, 0.0]),
        }
        return changed.get(self.how, weights)

    def combine(self, weights, losses, observed):
        if self.how == "vector":
            return weights * losses
        return losses.mean() ** 2 if self.how == "gradient" else super().combine(weights, losses, observed)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("sum", "gives weights that sum to 2, not to 1"),
        ("negative", "gives a weight that is negative"),
        ("shape", "fails with RuntimeError"),
        ("hidden state", "keep its state in buffers"),
        ("vector", "must return a scalar tensor"),
        ("gradient", "gradient by the losses is its weights"),
    ],
)
def test_a_weighting_that_breaks_the_contract_is_told_how(how, says):
    with pytest.raises(UserError, match=f"weighting 'mine'.*{says}"):
        dry_run.check_weighting("mine", partial(Broken, 3, how=how))
    dry_run.check_weighting("mine", partial(Broken, 3))


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (nn.Conv2d(1, 2, 3, padding=1), r"of \(2, 1, 128, 192\) it made \(2, 2, 128, 192\)"),
        (nn.Conv2d(1, 1, 3), r"it made \(2, 1, 126, 190\)"),
        (nn.Conv2d(3, 1, 3, padding=1), "fails with RuntimeError"),
        (nn.Identity(), "has no parameter to train"),
    ],
)
def test_a_network_must_make_images_of_the_target_shape(network, says):
    with pytest.raises(UserError, match=says):
        dry_run.check_network("mine", network, 1)


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (Metric("m", "up", lambda p, t, r: 1.0), "needs the goal 'max' or 'min', not 'up'"),
        (Metric("m", "max"), "needs a function `score`"),
        (Metric("m", "max", lambda p, t, r: (p - t)[r]), "fails with ValueError"),
        (Metric("m", "max", lambda p, t, r: float("nan")), "must be finite, not nan"),
    ],
)
def test_a_metric_must_give_a_number_and_have_a_goal(metric, says):
    with pytest.raises(UserError, match=says):
        dry_run.check_metric("mine", metric)
