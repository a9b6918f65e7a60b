"""Every loss term: zero at equality, exact gradients, masks, precision, and values worked out by hand."""

import numpy as np
import pytest
import pytorch_msssim
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.errors import UserError
from trainables.losses import TERMS, LossTerms

every_term = pytest.mark.parametrize("name", TERMS)
every_shape = pytest.mark.parametrize("shape", [(2, 1, 13, 14), (1, 2, 12, 13, 11)], ids=["2-D", "3-D"])
WINDOWED = {"ssim", "ms-ssim"}
"""Terms in which a voxel in the mask sees its neighbours outside."""


def images(shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=generator, dtype=dtype)
    return target + 0.3 * torch.randn(shape, generator=generator, dtype=dtype), target


def some_mask(shape, seed=1):
    return torch.rand((shape[0], 1, *shape[2:]), generator=torch.Generator().manual_seed(seed)) > 0.4


@every_term
@every_shape
def test_equal_images_lose_nothing(name, shape):
    _, image = images(shape)
    term = LossTerms([name])
    assert term(image, image).tolist() == [0]
    assert term(image, image, some_mask(shape)).tolist() == [0]


@every_term
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.sampled_from([1e-4, 1e-2, 1.0, 10.0]), offset=st.floats(-2, 2))
def test_different_images_lose_something(name, seed, scale, offset):
    shape = (1, 1, 12, 15)
    noise, image = images(shape, seed)
    loss = LossTerms([name])(image + scale * noise + offset, image).item()
    assert loss > 0
    assert np.isfinite(loss)


@every_term
@every_shape
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_exact(name, shape, masked):
    shape = (1, 1, *shape[2:])
    prediction, target = images(shape, dtype=torch.float64)
    # Not every voxel: a few hundred numerical derivatives are enough, and fast.
    patch = (..., slice(4, 7), slice(5, 8))
    mask = some_mask(shape) if masked else None

    def loss(values):
        image = prediction.clone()
        image[patch] = values
        return LossTerms([name])(image, target, mask)

    assert torch.autograd.gradcheck(loss, prediction[patch].clone().requires_grad_())


@every_term
@every_shape
def test_the_gradient_is_finite_at_equality(name, shape):
    _, target = images(shape)
    prediction = target.clone().requires_grad_()
    LossTerms([name])(prediction, target).sum().backward()
    assert prediction.grad.isfinite().all()


@every_term
@every_shape
def test_what_is_outside_the_mask_does_not_count(name, shape):
    prediction, target = images(shape)
    mask = torch.zeros(shape[0], 1, *shape[2:], dtype=torch.bool)
    mask[..., :3, :4] = True
    changed = prediction.clone()
    # Beyond the reach of a window around the mask's voxels.
    changed[..., 9:, 10:] += 5
    term = LossTerms([name])
    assert term(changed, target, mask).item() == pytest.approx(term(prediction, target, mask).item(), rel=1e-5)
    if name not in WINDOWED:
        changed = torch.where(mask, prediction, 7.0)
        assert term(changed, target, mask).item() == pytest.approx(term(prediction, target, mask).item(), rel=1e-5)


@every_term
@every_shape
def test_a_mask_of_all_voxels_is_no_mask(name, shape):
    if name in WINDOWED:
        pytest.skip("without a mask SSIM leaves out the border, as scikit-image's mean does")
    prediction, target = images(shape)
    term = LossTerms([name])
    full = torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool)
    assert term(prediction, target, full).item() == pytest.approx(term(prediction, target).item(), rel=1e-5)


@every_term
@every_shape
def test_an_empty_mask_loses_nothing(name, shape):
    prediction, target = images(shape)
    empty = torch.zeros(shape[0], 1, *shape[2:], dtype=torch.bool)
    prediction.requires_grad_()
    loss = LossTerms([name])(prediction, target, empty)
    loss.sum().backward()
    assert loss.tolist() == [0]
    assert prediction.grad.isfinite().all()


@every_term
def test_under_autocast_the_losses_are_those_of_float32(name):
    prediction, target = images((2, 1, 16, 16))
    half = prediction.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = LossTerms([name])(half, target)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, LossTerms([name])(half.float(), target))


def test_the_vector_holds_the_terms_in_their_order():
    prediction, target = images((2, 1, 16, 16))
    names = ("ssim", "l1", "frequency")
    terms = LossTerms(names)
    assert terms.names == names
    expected = [LossTerms([name])(prediction, target).item() for name in names]
    assert terms(prediction, target).tolist() == expected


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["l1", "sim"], None, "unknown loss term 'sim'; did you mean 'ssim'?"),
        ([], None, "loss terms must be given"),
        (["l1", "l1"], None, "each once"),
        (["l1"], {"l1": {"power": 3}}, "options are given for 'l1'"),
        (["l1"], {"adversarial": {}}, "options are given for 'adversarial'"),
        (["adversarial"], {"adversarial": {"depth": 3}}, "the term 'adversarial' has no option 'depth'"),
    ],
)
def test_what_is_wrong_with_the_names_is_said(names, options, message):
    with pytest.raises(UserError) as error:
        LossTerms(names, options)
    assert message in str(error.value)


# --- by hand ------------------------------------------------------------------------------------------------------

PREDICTION = torch.tensor([[1.0, 0.0, 2.0], [0.0, 4.0, 0.0]]).view(1, 1, 2, 3)
ZEROS = torch.zeros(1, 1, 2, 3)
MASK = torch.tensor([[1, 0, 1], [0, 1, 0]]).view(1, 1, 2, 3).bool()


@pytest.mark.parametrize(
    ("name", "mask", "expected"),
    [
        ("l1", None, 7 / 6),
        ("l1", MASK, 7 / 3),
        ("l2", None, 21 / 6),
        ("l2", MASK, 21 / 3),
        ("charbonnier", MASK, sum((d * d + 1e-6) ** 0.5 - 1e-3 for d in (1, 2, 4)) / 3),
        # Down: |-1|, |4|, |-2|. Across: |-1|, |2|, |4|, |-4|.
        ("gradient", None, (7 / 3 + 11 / 4) / 2),
        # No two voxels of the mask are neighbours; with the middle column they are, once down and four across.
        ("gradient", MASK, 0),
        ("gradient", MASK | torch.tensor([False, True, False]), (4 / 1 + (1 + 2) / 2) / 2),
    ],
)
def test_by_hand(name, mask, expected):
    assert LossTerms([name])(PREDICTION, ZEROS, mask).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 6, 7), (2, 1, 6, 8), (1, 1, 4, 6, 5), (1, 2, 5, 4, 6)])
def test_frequency_is_the_mean_modulus_of_the_whole_complex_spectrum(shape):
    prediction, target = images(shape)
    axes = tuple(range(2, len(shape)))
    spectra = [np.fft.fftn(image.numpy(), axes=axes, norm="ortho") for image in (prediction, target)]
    expected = np.abs(spectra[0] - spectra[1]).mean()
    assert LossTerms(["frequency"])(prediction, target).item() == pytest.approx(expected, rel=1e-5)


def test_frequency_sees_a_shift_that_leaves_every_magnitude_as_it_is():
    _, image = images((1, 1, 16, 16))
    assert LossTerms(["frequency"])(image.roll(1, -1), image).item() > 0.1


def test_an_edge_that_turns_around_is_a_gradient_error():
    edge = torch.zeros(1, 1, 4, 8)
    edge[..., 4:] = 1
    assert LossTerms(["gradient"])(1 - edge, edge).item() == pytest.approx(2 / 7 / 2, rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 176, 176), (2, 1, 177, 183)])
def test_ms_ssim_agrees_with_pytorch_msssim(shape):
    prediction, target = images(shape)
    expected = pytorch_msssim.ms_ssim(prediction, target, data_range=1.0).item()
    assert 1 - LossTerms(["ms-ssim"])(prediction, target).item() == pytest.approx(expected, abs=1e-4)


def test_ms_ssim_of_a_small_image_uses_the_scales_that_fit():
    # 24 halves once to 12: two scales of weights 0.0448 and 0.2856.
    prediction, target = images((1, 1, 24, 30))
    halved = [torch.nn.functional.avg_pool2d(image, 2) for image in (prediction, target)]
    _, structure = pytorch_msssim.ssim.__globals__["_ssim"](
        prediction, target, data_range=1.0, win=pytorch_msssim.ssim.__globals__["_fspecial_gauss_1d"](11, 1.5)[None]
    )
    coarse = pytorch_msssim.ssim(*halved, data_range=1.0)
    expected = (structure.item() ** 0.0448 * coarse.item() ** 0.2856) ** (1 / (0.0448 + 0.2856))
    assert 1 - LossTerms(["ms-ssim"])(prediction, target).item() == pytest.approx(expected, abs=1e-4)
