"""What training volumes looked like, in numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.cohort.domain import Domain, Range, extent_mm, voxel_size_mm
from trainables.cohort.geometry import Geometry, as_slices
from trainables.cohort.nifti import Grid

SHAPE = (10, 12, 8)


def volume(values, mask=None, *, affine=None, axis="axial"):
    """Slices, mask and geometry of a canonical volume of 2 x 3 x 4 mm voxels."""
    affine = np.diag([2.0, 3, 4, 1]) if affine is None else affine
    grid = Grid(path="x", stored_shape=SHAPE, stored_affine=affine)
    box = tuple((0, side) for side in as_slices(np.empty(SHAPE), axis).shape)
    geometry = Geometry.around(box, tuple(stop for _, stop in box[1:]), grid, axis, 0, 1)
    inside = np.zeros(SHAPE, dtype=bool)
    inside[2:8, 1:11, 3:6] = True
    mask = inside if mask is None else mask
    data = np.broadcast_to(np.asarray(values, dtype=np.float32), SHAPE)
    return geometry.cut(data), geometry.cut(mask), geometry


@pytest.mark.parametrize("axis", ["sagittal", "coronal", "axial"])
def test_sides_are_those_of_the_head_whatever_the_axis(axis):
    _, mask, geometry = volume(0.5, axis=axis)
    assert voxel_size_mm(geometry) == pytest.approx((2, 3, 4))
    assert extent_mm(mask, geometry) == pytest.approx((12, 30, 12))


def test_sides_are_those_of_the_head_however_it_is_stored():
    """Stored with front-back first: 3 mm along the first stored axis."""
    affine = np.array([[0, -2.0, 0, 0], [3, 0, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]])
    grid = Grid(path="x", stored_shape=SHAPE, stored_affine=affine)
    geometry = Geometry.around(((0, 8), (0, 10), (0, 12)), (10, 12), grid, "axial", 0, 1)
    assert voxel_size_mm(geometry) == pytest.approx((2, 3, 4))


def test_spread_is_the_distance_of_the_oddest_from_the_others():
    """Constant volumes of 0, 0.2 and 0.7: from the others' mean 0.45, 0.15 and 0.6 away."""
    domain = Domain.of(volume(value) for value in (0, 0.2, 0.7))
    assert domain.intensities == pytest.approx([0.3] * 20)
    assert domain.spread == pytest.approx(0.6)
    assert domain.distance(*volume(0.5)[:2]) == pytest.approx(0.2)
    assert domain.departures(*volume(0.85)) == []
    (sentence,) = domain.departures(*volume(0.95))
    assert sentence == (
        "intensities: the histogram inside the mask is 0.65 away from those trained on (at most 0.6 is usual)"
    )
    assert Domain.of([volume(0.4)]).spread == 0


def test_ranges_are_told_with_what_was_trained_on():
    domain = Domain.of([volume(0.5), volume(0.5, affine=np.diag([2.0, 3, 5, 1]))])
    smaller = np.zeros(SHAPE, dtype=bool)
    smaller[2:8, 1:11, 3:5] = True
    assert domain.departures(*volume(0.5, smaller, affine=np.diag([1.0, 3, 4, 1]))) == [
        "voxel size: 1 x 3 x 4 mm, trained on 2 x 3 x 4-5 mm",
        "shape: what is inside the mask spans 6 x 30 x 8 mm, trained on 12 x 30 x 12-15 mm",
    ]


@given(st.lists(st.tuples(*[st.floats(0.5, 400)] * 3), min_size=1, max_size=5))
def test_what_was_trained_on_is_in_the_range(triples):
    spanned = Range.of(triples)
    assert all(spanned.holds(triple, 0.01) for triple in triples)
    assert not spanned.holds((max(t[0] for t in triples) * 1.02, *triples[0][1:]), 0.01)
    assert Range.model_validate_json(spanned.model_dump_json()) == spanned


def test_it_goes_through_json():
    domain = Domain.of([volume(0.1), volume(np.linspace(0, 1, 8))])
    assert Domain.model_validate_json(domain.model_dump_json()) == domain
