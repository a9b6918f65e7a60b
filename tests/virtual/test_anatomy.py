"""The head and what is put into it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.cohort.virtual.anatomy import Head, Template, draw_head, make_grid, sample
from trainables.cohort.virtual.lesions import Layer
from trainables.cohort.virtual.protocol import Anatomy
from trainables.cohort.virtual.subject import displace
from trainables.cohort.virtual.vessels import Tube, draw_vessels, rasterize


@pytest.mark.parametrize("seed", range(4))
def test_heads_are_heads(template: Template, seed: int) -> None:
    head, drawn = draw_head(template, Anatomy(), np.random.default_rng(seed))
    litres = head.brain.sum() * 4.0**3 / 1e6
    assert 1.3 < litres < 2.6
    shares = np.stack([head.gray, head.white, head.csf])
    assert (shares >= 0).all()
    assert (shares.sum(axis=0) <= 1 + 1e-5).all()
    np.testing.assert_allclose(shares.sum(axis=0)[head.depth > 4], 1, atol=1e-5)
    gray, white, csf = shares.sum(axis=1) / shares.sum()
    assert 0.35 < gray < 0.65
    assert 0.2 < white < 0.45
    assert 0.03 < csf < 0.35
    # The head lies inside the field of view.
    mask = head.volume(head.brain, np.bool_)
    assert not any(mask.take(end, axis).any() for axis in range(3) for end in (0, -1))
    assert 1.5 <= drawn["csf_factor"] <= 4


def test_heads_differ_and_a_seed_repeats_one(template: Template) -> None:
    first, again, other = (draw_head(template, Anatomy(), np.random.default_rng(seed))[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.gray, again.gray)
    masks = [head.volume(head.brain, np.bool_) for head in (first, other)]
    dice = 2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum())
    assert dice < 0.95


def test_warps_do_not_fold(template: Template) -> None:
    rigid = Anatomy(size_sd_fraction=0, rotation_sd_degrees=0, shift_sd_mm=0)
    head, _ = draw_head(template, rigid, np.random.default_rng(0))
    positions = np.stack([head.volume(axis) for axis in head.template_points.T])
    inside = head.volume(head.depth > 6, np.bool_)
    jacobian = np.stack([np.stack(np.gradient(axis, 4.0)) for axis in positions])  # (3, 3, X, Y, Z)
    determinants = np.abs(np.linalg.det(np.moveaxis(jacobian[:, :, inside], -1, 0)))
    assert determinants.min() > 0.2
    assert determinants.max() > 1.2  # it does warp


def test_depth_is_in_mm(template: Template) -> None:
    # Along the line from the template's middle to the vertex the surface comes a millimetre nearer each millimetre.
    heights = np.arange(40, 100, 0.5)
    line = np.stack([np.full_like(heights, 8.0), np.full_like(heights, -20.0), heights], axis=1)
    depth = sample(template.depth, template.grid, line)
    near = np.abs(depth) < 3
    slope = np.polyfit(heights[near], depth[near], 1)[0]
    assert slope == pytest.approx(-1, abs=0.25)


def _uniform_head(num_voxels: int) -> Head:
    one = np.ones(num_voxels, np.float32)
    return Head(
        grid=make_grid(8.0),
        voxels=np.arange(num_voxels),
        points=np.zeros((num_voxels, 3), np.float32),
        template_points=np.zeros((num_voxels, 3), np.float32),
        gray=0.5 * one,
        white=0.25 * one,
        csf=0.15 * one,
        folds=0 * one,
        depth=one,
    )


_LAYERS = st.lists(
    st.tuples(
        st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4),
        st.sampled_from([(1,), (0, 1), (0, 1, 2)]),
    ),
    max_size=5,
)


def _layers(drawn: list[tuple[list[float], tuple[int, ...]]]) -> list[Layer]:
    return [
        Layer(
            compartment="edema",
            where=np.arange(4),
            share=np.array(share, np.float32),
            transfer_factor=np.ones(4, np.float32),
            displaces=displaces,
        )
        for share, displaces in drawn
    ]


@given(drawn=_LAYERS)
@settings(deadline=None)
def test_no_voxel_holds_more_than_itself(drawn: list) -> None:
    amounts, base = displace(_uniform_head(4), _layers(drawn))
    total = base.sum(axis=0) + sum(amounts, np.zeros(4))
    assert all((amount >= 0).all() for amount in amounts)
    assert (base >= 0).all()
    # A tenth of each voxel is outside the brain: it is never lost to tissue, and layers may fill it.
    assert (total >= 0.9 - 1e-5).all()
    assert (total <= 1 + 1e-5).all()


def test_displacement_worked_out_by_hand() -> None:
    half, whole = [0.5] * 4, [1.0] * 4
    # Below: half of all grey and white (0.375). On top: all white (0.25), of which the lower layer had taken half.
    amounts, base = displace(_uniform_head(4), _layers([(half, (0, 1)), (whole, (1,))]))
    np.testing.assert_allclose(amounts[1], 0.25)
    np.testing.assert_allclose(amounts[0], 0.25)  # half the grey is left to it
    np.testing.assert_allclose(base[:, 0], [0.25, 0, 0.15])


def test_a_tube_has_its_volume() -> None:
    grid = make_grid(1.0)
    along = np.linspace(-40, 40, 161)
    points = np.stack([along, 0.3 * along, np.full_like(along, 5)], axis=1)
    length = np.linalg.norm(points[-1] - points[0])
    for radius in (0.4, 1.0, 3.0):
        filled = rasterize([Tube(points=points, radii=np.full(161, radius))], grid)
        assert filled.max() <= 1
        ball_ends = 4 / 3 * np.pi * radius**3
        assert filled.sum() == pytest.approx(np.pi * radius**2 * length + ball_ends, rel=0.35)


def test_vessels_lie_in_the_head(template: Template) -> None:
    for tube in draw_vessels(template, np.random.default_rng(0)):
        depth = sample(template.depth, template.grid, tube.points)
        assert np.mean(depth > -4) > 0.7
