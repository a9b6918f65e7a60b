"""Small cohorts, written as files."""

import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def study_data() -> Path:
    """The folder of real and awkward files; tests that need it are skipped where it is absent."""
    given = os.environ.get("COV_STUDY_DATA")
    candidates = [Path(given)] if given else [above / "shared" / "data" for above in Path(__file__).resolve().parents]
    for folder in candidates:
        if (folder / "awkward").is_dir():
            return folder
    pytest.skip("no folder of real files; set COV_STUDY_DATA")


@pytest.fixture
def write_image() -> Write:
    """Writes an array as NIfTI, at 2 mm unless an affine is given."""

    def write(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1]) if affine is None else affine), path)
        return path

    return write


@pytest.fixture
def make_bids(write_image: Write) -> Write:
    """Writes a BIDS cohort of noisy ellipsoids: early and delayed image, brain and (every other) lesion mask."""

    def make(root: Path, num_subjects: int = 4, shape: tuple[int, int, int] = (14, 18, 12), seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij"))
        for number in range(1, num_subjects + 1):
            name = f"sub-{number:02d}"
            radii = rng.uniform(0.6, 0.9, size=(3, 1, 1, 1))
            brain = ((grid / radii) ** 2).sum(axis=0) < 1
            early = np.where(brain, rng.integers(200, 1000, shape), 0).astype(np.int16)
            delayed = np.where(brain, early * 0.5 + rng.integers(100, 300, shape), 0).astype(np.int16)
            anat = root / name / "anat"
            write_image(anat / f"{name}_acq-early_ce-gadobutrol_T1w.nii.gz", early)
            write_image(anat / f"{name}_acq-delayed_ce-gadobutrol_T1w.nii.gz", delayed)
            write_image(anat / f"{name}_label-brain_mask.nii.gz", brain.astype(np.uint8))
            if number % 2:
                lesion = np.zeros(shape, dtype=np.uint8)
                lesion[6:8, 8:10, 5:7] = 1
                write_image(anat / f"{name}_label-lesion_mask.nii.gz", lesion)
        return root

    return make
