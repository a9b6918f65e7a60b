"""Scores against scikit-image, region by region."""

from math import inf, log10, sqrt

import numpy as np
import pytest
import torch
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from trainables import ssim
from trainables.errors import UserError
from trainables.metrics import METRICS, score_volume

SHAPE = (14, 19, 23)


def volumes(shape=SHAPE, seed=0):
    """A prediction, its target, a mask that touches one border, and a lesion in it: tensors."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=generator)
    prediction = target + 0.2 * torch.randn(shape, generator=generator)
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[0:-3, 2:-2, 4:] = True
    lesion = torch.zeros(shape, dtype=torch.bool)
    lesion[2:5, 4:8, 10:-1] = True
    return prediction, target, mask, lesion


def test_agrees_with_scikit_image_in_every_region():
    prediction, target, mask, lesion = volumes()
    p, t = prediction.numpy().astype(np.float64), target.numpy().astype(np.float64)
    mean, full = structural_similarity(
        p, t, data_range=1, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    expected = {
        "volume": (
            peak_signal_noise_ratio(t, p, data_range=1),
            mean,
            sqrt(mean_squared_error(t, p)),
        )
    }
    for name, region in (("mask", mask.numpy()), ("lesion", lesion.numpy())):
        error = mean_squared_error(t[region], p[region])
        expected[name] = (-10 * log10(error), full[region].mean(), sqrt(error))
    scores = score_volume(prediction, target, mask, lesion)
    assert set(scores) == set(expected)
    for name, (psnr, similarity, rmse) in expected.items():
        assert scores[name]["psnr"] == pytest.approx(psnr, abs=1e-4)
        assert scores[name]["ssim"] == pytest.approx(similarity, abs=1e-5)
        assert scores[name]["rmse"] == pytest.approx(rmse, abs=1e-6)
        assert set(scores[name]) == set(METRICS)


def test_bright_smooth_images_agree_too():
    # Where variances are small differences of large squares, float32 is at its worst.
    z, y, x = np.meshgrid(*(np.linspace(0, 1, size) for size in SHAPE), indexing="ij")
    t = 0.9 + 0.05 * np.sin(3 * x + 2 * y + z)
    p = t + 0.003 * np.cos(9 * x - 4 * z)
    mean = structural_similarity(p, t, data_range=1, gaussian_weights=True, use_sample_covariance=False)
    scores = score_volume(torch.from_numpy(p), torch.from_numpy(t), torch.ones(SHAPE, dtype=torch.bool))
    assert scores["volume"]["ssim"] == pytest.approx(mean, abs=1e-4)


def test_without_the_whole_volume_the_regions_score_the_same():
    prediction, target, mask, lesion = volumes()
    mask[:6], mask[..., :8] = False, False
    scores = score_volume(prediction, target, mask, lesion)
    del scores["volume"]
    regions = score_volume(prediction, target, mask, lesion, whole=False)
    assert regions.keys() == scores.keys()
    for name, values in regions.items():
        assert values == pytest.approx(scores[name], abs=1e-6)


@pytest.mark.parametrize("chunk", [1, 5000, 10**9])
@pytest.mark.parametrize("depth", [5, 9, 10, 11, 21])
def test_the_ssim_map_does_not_depend_on_the_chunks_it_is_made_in(monkeypatch, chunk, depth):
    prediction, target, *_ = volumes((depth, 12, 13))
    padded = [ssim.mirror(volume[None]) for volume in (prediction, target)]
    expected = ssim.combined(*ssim.errors(*padded))[0]
    monkeypatch.setattr(ssim, "CHUNK", chunk)
    assert torch.allclose(ssim.error_map(prediction, target), expected, atol=1e-5)


def test_a_perfect_prediction():
    _, target, mask, lesion = volumes()
    perfect = {"psnr": inf, "ssim": 1.0, "rmse": 0.0}
    assert score_volume(target, target, mask, lesion) == {"mask": perfect, "lesion": perfect, "volume": perfect}


def test_a_constant_error_by_hand():
    target = torch.full(SHAPE, 0.5)
    scores = score_volume(target + 0.1, target, torch.ones(SHAPE, dtype=torch.bool))
    similarity = (2 * 0.6 * 0.5 + 1e-4) / (0.36 + 0.25 + 1e-4)
    for region in ("mask", "volume"):
        assert scores[region] == pytest.approx({"psnr": 20.0, "rmse": 0.1, "ssim": similarity}, rel=1e-4)


def test_an_empty_lesion_has_no_scores():
    prediction, target, mask, _ = volumes()
    assert set(score_volume(prediction, target, mask, torch.zeros_like(mask))) == {"mask", "volume"}


def test_what_was_trained_on_or_half_precise_is_scored_in_float32():
    prediction, target, mask, _ = volumes()
    half = prediction.half().requires_grad_()
    scores = score_volume(half, target, mask)
    assert scores["mask"]["psnr"] == pytest.approx(score_volume(half.detach().float(), target, mask)["mask"]["psnr"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, t, m: (p, t, torch.zeros_like(m)), "the mask of a volume is empty"),
        (lambda p, t, m: (p[1:], t, m), r"of one shape, not \(13, 19, 23\), \(14, 19, 23\), \(14, 19, 23\)"),
        (lambda p, t, m: (p[None], t[None], m[None]), r"must be \(D, H, W\)"),
        (lambda p, t, m: (p[:4], t[:4], m[:4]), "at least 5 voxels along each axis, not 4 x 19 x 23"),
    ],
)
def test_what_cannot_be_scored_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        score_volume(*change(*volumes()[:3]))


def test_every_metric_knows_which_way_is_better():
    assert {name: metric.goal for name, metric in METRICS.items()} == {"psnr": "max", "ssim": "max", "rmse": "min"}
    assert all(metric.name == name for name, metric in METRICS.items())
