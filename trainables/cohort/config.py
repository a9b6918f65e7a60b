"""What a user may set about a cohort: which files form a pair, how they are prepared, how they are split."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from trainables.frozen import FrozenModel

Axis = Literal["sagittal", "coronal", "axial"]


class Augmentation(FrozenModel):
    """Random changes to training slices; the source, target and mask of a pair change alike."""

    flip_probability: float = Field(default=0.5, ge=0, le=1)
    """Mirrors columns: left and right in axial and coronal slices."""
    affine_probability: float = Field(default=0.5, ge=0, le=1)
    """Rotates, shifts and scales."""
    rotate_degrees: float = Field(default=5.0, ge=0, le=180)
    """At most, either way."""
    translate_voxels: float = Field(default=3.0, ge=0)
    """At most, either way."""
    scale: float = Field(default=0.05, ge=0, lt=1)
    """Size changes by a factor within 1 +- scale."""
    intensity_probability: float = Field(default=0.5, ge=0, le=1)
    """Brightens or darkens."""
    intensity: float = Field(default=0.1, ge=0, lt=1)
    """Intensities of source and target change by one factor within 1 +- intensity."""


class CohortConfig(FrozenModel):
    """Which files form a pair, how they are prepared and how subjects are split.

    A pattern is the end of a BIDS name: its entities and its suffix, as in `acq-early_ce-gadobutrol_T1w`.
    A file fits if its name holds exactly these, in any order, and besides only `sub-`, `ses-` and `run-`.
    Values may hold the wildcards `*` and `?`.
    """

    source_pattern: str = "acq-early_ce-gadobutrol_T1w"
    """What is known."""
    target_pattern: str = "acq-delayed_ce-gadobutrol_T1w"
    """What is predicted."""
    mask_pattern: str = "label-brain_mask"
    """Brain mask; without one the foreground is taken."""
    lesion_pattern: str = "label-lesion_mask"
    """Lesion mask, where there is one: scored by itself."""
    resample: bool = False
    """Bring targets and masks on another grid to the grid of the source, instead of refusing them."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """Percentiles of the source inside the mask that become 0 and 1; the target gets the same scale."""
    axis: Axis = "axial"
    """Across which volumes are sliced."""
    neighbours: int = Field(default=0, ge=0, le=8)
    """Neighbouring slices on each side that join a slice as channels (2.5-D): 1 + 2 * neighbours channels."""
    num_train: int | None = Field(default=None, ge=1)
    """Subjects to learn from."""
    num_validation: int | None = Field(default=None, ge=1)
    """Subjects that select weights and models."""
    num_test: int | None = Field(default=None, ge=1)
    """Subjects that judge. In each split None is its share of 60, 10 and 30 %, or all that the `split` column names."""
    seed: int = Field(default=0, ge=0)
    """Seed of the split."""
    pseudonyms: bool = True
    """Call subjects `subject-001` and so on in everything that is written."""

    @field_validator("source_pattern", "target_pattern", "mask_pattern", "lesion_pattern")
    @classmethod
    def _pattern_is_a_name(cls, pattern: str) -> str:
        if not pattern.strip("_ ") or "/" in pattern:
            raise ValueError("must be the end of a BIDS file name, such as acq-early_T1w")
        return pattern

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles must rise within 0..100, not ({low:g}, {high:g})")
        if self.source_pattern == self.target_pattern:
            raise ValueError("source_pattern and target_pattern are the same: a pair needs two images")
        return self
