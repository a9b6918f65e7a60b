"""A small cohort of arrays, with something to learn in it."""

import numpy as np
import pytest

from trainables.cohort import PreparedCohort
from trainables.cohort.geometry import Geometry
from trainables.cohort.prepared import PreparedSubject


@pytest.fixture(scope="session")
def cohort() -> PreparedCohort:
    """Six subjects of 5 slices of 16 x 24: the target is a smooth function of the source."""
    rng = np.random.default_rng(0)
    num_subjects, depth, height, width = 6, 5, 16, 24
    source = rng.random((num_subjects * depth, height, width), dtype=np.float32)
    target = (0.2 + 0.6 * source + 0.1 * np.roll(source, 1, axis=2)).astype(np.float32)
    mask = np.zeros(source.shape, dtype=bool)
    mask[:, 3:13, 4:20] = True
    lesion = np.zeros_like(mask)
    lesion[2::depth, 6:9, 8:12] = True
    splits = ("train", "train", "train", "validation", "test", "test")
    geometry = Geometry(**dict.fromkeys(Geometry.__dataclass_fields__))
    subjects = tuple(
        PreparedSubject(
            pseudonym=f"subject-{n:03d}", split=split, start=n * depth, stop=(n + 1) * depth, geometry=geometry
        )
        for n, split in enumerate(splits)
    )
    return PreparedCohort(
        source=source, target=target, mask=mask, lesion=lesion, subjects=subjects, provenance={"simulated": True}
    )
