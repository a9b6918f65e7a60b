"""SSIM against scikit-image and pytorch-msssim."""

import numpy as np
import pytest
import pytorch_msssim
import torch
from skimage.metrics import structural_similarity

from trainables.errors import UserError
from trainables.losses import LossTerms

SHAPES = [(2, 1, 24, 31), (2, 3, 16, 20), (1, 2, 13, 16, 18)]


def images(shape: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=generator)
    return target + 0.2 * torch.randn(shape, generator=generator), target


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_scikit_image(shape):
    prediction, target = images(shape)
    scores = [
        structural_similarity(p.numpy(), t.numpy(), data_range=1, gaussian_weights=True, use_sample_covariance=False)
        for p, t in zip(prediction.flatten(0, 1), target.flatten(0, 1), strict=True)
    ]
    assert 1 - LossTerms(["ssim"])(prediction, target).item() == pytest.approx(np.mean(scores), abs=1e-4)


def test_in_a_mask_it_is_the_mean_of_scikit_images_full_map():
    prediction, target = images((1, 1, 20, 25))
    mask = torch.rand(1, 1, 20, 25) > 0.5
    _, full = structural_similarity(
        prediction[0, 0].numpy(),
        target[0, 0].numpy(),
        data_range=1,
        gaussian_weights=True,
        use_sample_covariance=False,
        full=True,
    )
    expected = full[mask[0, 0].numpy()].mean()
    assert 1 - LossTerms(["ssim"])(prediction, target, mask).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_pytorch_msssim(shape):
    prediction, target = images(shape, seed=1)
    expected = pytorch_msssim.ssim(prediction, target, data_range=1.0).item()
    assert 1 - LossTerms(["ssim"])(prediction, target).item() == pytest.approx(expected, abs=1e-4)


def test_an_image_smaller_than_the_window_is_refused():
    with pytest.raises(UserError, match=r"at least 11 voxels.*not 10 x 24"):
        LossTerms(["ssim"])(*images((1, 1, 10, 24)))
