"""CoV against numbers worked out by hand and against a transcription of the method in NumPy."""

from math import sqrt

import numpy as np
import pytest
import torch

from trainables.weighting import CoVWeighting

LOSSES = [(2.0, 1.0), (1.0, 1.0), (1.0, 2.0), (3.0, 1.0)]


def share(c1: float, c2: float) -> tuple[float, float]:
    return c1 / (c1 + c2), c2 / (c1 + c2)


# Ratios l: (1, 1), (1/2, 1), (2/3, 2). By hand, step after step:
#   full   mu_l (1, 1), (3/4, 1), (13/18, 4/3); S (0, 0), (1/8, 0), (1/8 + 1/216, 2/3)
#   decay  with p = 1/2: the same up to t = 1, then mu_l (17/24, 3/2), S (1/8 + 1/288, 1/2)
STEP_2 = share(sqrt(1 / 16 + 1e-8) / (3 / 4), 1e-4)
BY_HAND = {
    "full": share(sqrt(28 / 216 / 3 + 1e-8) / (13 / 18), sqrt(2 / 9 + 1e-8) / (4 / 3)),
    "decay": share(sqrt(37 / 288 / 3 + 1e-8) / (17 / 24), sqrt(1 / 6 + 1e-8) / (3 / 2)),
    # Variances 1/16, 0 at t = 1; then v' = 1/2 (v + 1/2 (l - mu_l)^2).
    "ema": share(sqrt((1 / 16 + 1 / 288) / 2 + 1e-8) / (17 / 24), sqrt(1 / 4 + 1e-8) / (3 / 2)),
}


@pytest.mark.parametrize("mode", BY_HAND)
def test_four_steps_by_hand(mode):
    weighting = CoVWeighting(2, mode=mode, decay=0.5).double()
    expected = [(0.5, 0.5), (0.5, 0.5), STEP_2, BY_HAND[mode]]
    for losses, weights in zip(LOSSES, expected, strict=True):
        total = weighting(torch.tensor(losses, dtype=torch.float64))
        assert weighting.weights.tolist() == pytest.approx(weights, abs=1e-12)
        assert total.item() == pytest.approx(np.dot(weights, losses), abs=1e-12)


def transcription(losses: np.ndarray, mode: str, decay: float) -> np.ndarray:
    """Weights (T, K) of losses (T, K): the published algorithm, as its text reads."""
    num_terms = losses.shape[1]
    mu_loss = mu_ratio = squares = sigma = np.zeros(num_terms)
    weights = []
    for t, loss in enumerate(losses):
        ratio = np.ones(num_terms) if t == 0 else loss / mu_loss
        if t <= 1:
            weights.append(np.full(num_terms, 1 / num_terms))
        else:
            variation = sigma / mu_ratio
            weights.append(variation / variation.sum())
        p = 0 if t == 0 else decay if mode == "decay" else 1 - 1 / (t + 1)
        new_mu = p * mu_ratio + (1 - p) * ratio
        squares = squares + (ratio - mu_ratio) * (ratio - new_mu)
        sigma = np.sqrt(squares / (t + 1) + 1e-8)
        mu_ratio = new_mu
        mu_loss = p * mu_loss + (1 - p) * loss
    return np.array(weights)


@pytest.mark.parametrize("mode", ["full", "decay"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_agrees_with_a_transcription_for_a_thousand_steps(mode, dtype, tolerance):
    rng = np.random.default_rng(7)
    decline = np.exp(-np.linspace(0, 2, 1000))[:, None]
    losses = decline * rng.lognormal(sigma=[0.1, 0.5, 1.0, 0.3, 0.2], size=(1000, 5)) * [1e-3, 1, 50, 1, 0.2]
    weighting = CoVWeighting(5, mode=mode, decay=0.97).to(dtype)
    seen = []
    for loss in torch.from_numpy(losses).to(dtype):
        weighting(loss)
        seen.append(weighting.weights.double().numpy().copy())
    assert np.abs(np.array(seen) - transcription(losses, mode, 0.97)).max() < tolerance
