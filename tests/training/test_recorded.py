"""Which steps may be recorded as CUDA graphs. That a replay computes the same: test_gpu.py."""

import pytest
import torch

from trainables.config import NetworkConfig, TrainingConfig
from trainables.cuda_graphs import can_be_recorded
from trainables.losses import TERMS
from trainables.weighting import WEIGHTINGS, LossWeighting, make_weighting

GPU, CPU = torch.device("cuda"), torch.device("cpu")


class OfOnesOwn(LossWeighting):
    def next_weights(self, losses):
        return self.weights.clone()


def weighting(name: str, num_terms: int = 2) -> LossWeighting:
    needed = {"fixed": {"weights": [1.0] * num_terms}, "single": {"term": 0}}
    return make_weighting({"name": name, **needed.get(name, {})}, num_terms)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_all_that_is_built_in_but_a_weighting_that_takes_gradients(name):
    assert can_be_recorded(TrainingConfig(), list(TERMS), weighting(name), GPU) == (name != "gradnorm")


def test_not_on_a_cpu():
    assert not can_be_recorded(TrainingConfig(), ["l1"], weighting("cov"), CPU)


@pytest.mark.parametrize("term", ["adversarial", "perceptual", "package.module:term"])
def test_not_a_term_that_is_a_network_or_comes_from_elsewhere(term):
    assert not can_be_recorded(TrainingConfig(), ["l1", term], weighting("cov"), GPU)


def test_not_a_network_or_weighting_from_elsewhere():
    config = TrainingConfig(network=NetworkConfig(name="package.module:network"))
    assert not can_be_recorded(config, ["l1"], weighting("cov"), GPU)
    assert not can_be_recorded(TrainingConfig(), ["l1", "ssim"], OfOnesOwn(2), GPU)
