"""Augmentation: alike for source, target and mask, and a function of seed, epoch and batch alone."""

import pytest
import torch

from trainables.cohort import Augmentation
from trainables.cohort.augment import Augment
from trainables.config import TrainingConfig

NOTHING = {"flip_probability": 0.0, "affine_probability": 0.0, "intensity_probability": 0.0}


def _batch(channels: int = 1, size: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(size, channels, 24, 32, generator=generator)
    target = torch.rand(size, 1, 24, 32, generator=generator)
    mask = torch.zeros(size, 1, 24, 32, dtype=torch.bool)
    mask[..., 6:18, 8:20] = True
    return source, target, mask


def test_off_by_default() -> None:
    assert TrainingConfig().augmentation is None


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_types_are_kept_and_inputs_too(channels: int) -> None:
    batch = _batch(channels)
    before = [tensor.clone() for tensor in batch]
    after = Augment(Augmentation(), seed=0)(*batch, epoch=0, batch=0)
    for old, given, new in zip(before, batch, after, strict=True):
        assert torch.equal(old, given)
        assert (new.shape, new.dtype, type(new)) == (old.shape, old.dtype, torch.Tensor)
    assert not torch.equal(after[0], before[0])


def test_nothing_asked_nothing_changed() -> None:
    batch = _batch()
    for old, new in zip(batch, Augment(Augmentation(**NOTHING), seed=0)(*batch, epoch=0, batch=0), strict=True):
        assert torch.equal(old, new)


def test_a_resumed_training_sees_the_same() -> None:
    batch = _batch()
    straight = Augment(Augmentation(), seed=3)
    first = [straight(*batch, epoch=epoch, batch=number) for epoch in range(2) for number in range(3)]
    resumed = Augment(Augmentation(), seed=3)(*batch, epoch=1, batch=1)
    for one, other in zip(first[4], resumed, strict=True):
        assert torch.equal(one, other)
    sources = [outcome[0] for outcome in first]
    sources += [Augment(Augmentation(), seed=4)(*batch, epoch=0, batch=0)[0]]
    for index, one in enumerate(sources):
        assert not any(torch.equal(one, other) for other in sources[:index])


def test_source_target_and_mask_move_together() -> None:
    _, _, mask = _batch(size=16)
    image = mask.float()
    source, target, moved = Augment(Augmentation(intensity_probability=0), seed=1)(image, image, mask, epoch=0, batch=0)
    torch.testing.assert_close(source, target)
    # Where the image, bilinear, is clearly in or out, the mask, nearest, says the same.
    clear = (source - 0.5).abs() > 0.49
    assert clear.float().mean() > 0.9
    assert torch.equal((source > 0.5)[clear], moved[clear])
    assert not torch.equal(moved, mask)


def test_flips_mirror_columns() -> None:
    source, target, mask = _batch()
    flip = Augment(Augmentation(**(NOTHING | {"flip_probability": 1.0})), seed=0)
    for old, new in zip((source, target, mask), flip(source, target, mask, epoch=0, batch=0), strict=True):
        assert torch.equal(new, old.flip(-1))


def test_intensity_is_one_factor_for_source_and_target() -> None:
    source, target, mask = _batch()
    scale = Augment(Augmentation(**(NOTHING | {"intensity_probability": 1.0, "intensity": 0.2})), seed=0)
    new_source, new_target, new_mask = scale(source, target, mask, epoch=0, batch=0)
    factors = (new_source / source).flatten(1)
    assert torch.allclose(factors, factors[:, :1].expand_as(factors), atol=1e-5)
    assert torch.allclose((new_target / target).flatten(1), factors[:, :1].expand_as(factors), atol=1e-5)
    assert torch.equal(new_mask, mask)
    assert (factors[:, 0] - 1).abs().max() <= 0.2
    assert len(factors[:, 0].unique()) == len(source)
