"""Data-parallel ranks see different losses and must keep the same weights."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.waiting import PATIENCE_SECONDS
from tests.weighting.streams import make, stream

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_ranks_stay_identical(tmp_path):
    command = [sys.executable, "-m", "tests.weighting.rank"]
    ranks = [subprocess.Popen([*command, str(rank), str(tmp_path)], cwd=ROOT) for rank in (0, 1)]
    assert [rank.wait(timeout=PATIENCE_SECONDS) for rank in ranks] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for weights, others in zip(first["together"], second["together"], strict=True):
        assert torch.equal(weights, others)
        assert not torch.allclose(weights, torch.tensor(0.25), atol=1e-3)
    assert torch.equal(first["discriminator"], second["discriminator"])
    assert not torch.equal(first["alone"], second["alone"])

    # And the shared weights are those of one process that sees the mean of the ranks' losses.
    weighting, _ = make({"name": "cov"})
    for pair in zip(stream(4, 12, seed=0), stream(4, 12, seed=1), strict=True):
        weighting(torch.stack(pair).mean(0))
    assert torch.allclose(weighting.weights, first["together"][0], atol=1e-5)
