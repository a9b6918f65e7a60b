"""Terms that are networks: the adversarial one saves and restores itself; the perceptual one downloads nothing."""

import io

import pytest
import torch

from trainables.errors import UserError
from trainables.losses import LossTerms

SMALL = {"adversarial": {"channels": 8, "num_layers": 2, "learning_rate": 2e-3}}


def adversarial() -> LossTerms:
    return LossTerms(["l1", "adversarial"], SMALL)


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images and noise, which a discriminator tells apart."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.linspace(0, 1, 24).expand(4, 1, 24, 24) + 0.05 * torch.randn(4, 1, 24, 24, generator=generator)
    return torch.rand(4, 1, 24, 24, generator=generator), target


def test_the_discriminator_learns_to_tell_prediction_from_target():
    terms = adversarial()
    losses = []
    for seed in range(40):
        prediction, target = batch(seed)
        losses.append(terms(prediction.requires_grad_(), target)[1].item())
    discriminator = terms.networks["adversarial"].discriminator
    prediction, target = batch(99)
    assert discriminator(target)[-1].mean() > 0.7
    assert discriminator(prediction)[-1].mean() < 0.3
    assert losses[-1] > 0.5


def test_the_gradient_reaches_the_prediction_and_no_training_loop_sees_the_discriminator():
    terms = adversarial()
    prediction, target = batch(0)
    terms(prediction.requires_grad_(), target)[1].backward()
    assert prediction.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in terms.parameters())
    assert all(parameter.grad is None for parameter in terms.parameters())


@pytest.mark.parametrize("how", ["eval", "no_grad"])
def test_in_evaluation_the_discriminator_stays(how):
    terms = adversarial()
    terms(*batch(0))
    before = {name: value.clone() for name, value in terms.networks["adversarial"].named_parameters()}
    if how == "eval":
        terms.eval()
        terms(*batch(1))
    else:
        with torch.inference_mode():
            terms(*batch(1))
    assert all(torch.equal(value, before[name]) for name, value in terms.networks["adversarial"].named_parameters())


def test_saved_and_restored_it_goes_on_to_the_bit():
    terms = adversarial()
    for seed in range(3):
        terms(*batch(seed))
    file = io.BytesIO()
    torch.save(terms.state_dict(), file)
    file.seek(0)
    restored = adversarial()
    restored(*batch(7))
    restored.load_state_dict(torch.load(file, weights_only=True))
    for seed in range(3, 6):
        assert torch.equal(restored(*batch(seed)), terms(*batch(seed)))


def test_its_first_weights_do_not_touch_the_global_generator():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    adversarial()
    assert torch.equal(torch.rand(3), expected)


def test_outside_the_mask_nothing_is_told_apart():
    terms = adversarial().eval()
    prediction, target = batch(0)
    mask = torch.zeros(4, 1, 24, 24, dtype=torch.bool)
    mask[..., :12] = True
    changed = torch.where(mask, prediction, 3.0)
    assert torch.equal(terms(changed, target, mask), terms(prediction, target, mask))


def test_three_dimensions():
    terms = LossTerms(["adversarial"], {"adversarial": {**SMALL["adversarial"], "spatial_dims": 3}})
    assert terms(torch.rand(1, 1, 16, 16, 16), torch.rand(1, 1, 16, 16, 16)).shape == (1,)


def test_missing_perceptual_weights_are_asked_for_and_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError) as error:
        LossTerms(["perceptual"])
    assert str(tmp_path / "hub" / "checkpoints" / "resnet50-11ad3fa6.pth") in str(error.value)
    assert "put torchvision's resnet50 weights" in str(error.value)
    assert list(tmp_path.rglob("*.pth")) == []


def test_a_file_without_such_weights_is_refused(tmp_path):
    # Without a torchvision that fits torch, this is what is said instead.
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"no state dict of torchvision's resnet50|needs a torchvision that fits"):
        LossTerms(["perceptual"], {"perceptual": {"weights": str(path)}})


@pytest.mark.slow
def test_perceptual_distance(tmp_path):
    try:
        from torchvision.models import resnet50
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no torchvision that fits torch: {error}")
    path = tmp_path / "weights.pth"
    torch.manual_seed(0)
    torch.save({"model": resnet50(weights=None).state_dict()}, path)
    terms = LossTerms(["perceptual"], {"perceptual": {"weights": str(path), "key": "model"}})
    prediction, target = torch.rand(2, 2, 1, 32, 32)
    assert terms(target, target).item() == pytest.approx(0, abs=1e-6)
    loss = terms(prediction.requires_grad_(), target)
    loss.sum().backward()
    assert loss.item() > 0
    assert prediction.grad.abs().sum() > 0
    mask = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    assert terms(prediction, target, mask).item() == pytest.approx(0, abs=1e-6)
    assert list(terms.state_dict()) == []
