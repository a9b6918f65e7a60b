"""The examples run as they stand in the README, and learn."""

import runpy
import warnings
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"


def test_the_readme_quotes_the_loop_that_runs():
    example = (HERE / "bare_pytorch.py").read_text()
    imported = next(line for line in example.splitlines() if line.startswith("from trainables"))
    shown = example.split("# [README]\n")[1].split("# [/README]")[0]
    assert f"```python\n{imported}\n\n{shown}```" in README.read_text()


def test_bare_pytorch():
    names = runpy.run_path(str(HERE / "bare_pytorch.py"))
    # About 0.5 before training.
    assert names["losses"][0] < 0.2
    assert names["weighting"].num_steps.item() == 100
    assert names["weighting"].weights.sum().item() == pytest.approx(1)
    assert set(names["checkpoint"]["weighting"]) == set(names["weighting"].state_dict())


@pytest.mark.slow
def test_monai_losses():
    names = runpy.run_path(str(HERE / "monai_losses.py"))
    assert names["total"] < 0.3
    assert names["weighting"].names == ("l1", "ssim")


@pytest.mark.slow
def test_lightning_module_goes_on_from_its_checkpoint(tmp_path):
    pytest.importorskip("lightning")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main = runpy.run_path(str(HERE / "lightning_module.py"))["main"]
        whole = main(str(tmp_path / "whole"), max_epochs=4)
        main(str(tmp_path / "halves"), max_epochs=2)
        resumed = main(str(tmp_path / "halves"), max_epochs=4)
    assert resumed.weighting.num_steps.item() == whole.weighting.num_steps.item() == 16
    assert torch.equal(resumed.weighting.weights, whole.weighting.weights)
    assert not torch.allclose(whole.weighting.weights, torch.tensor(0.25), atol=1e-3)
