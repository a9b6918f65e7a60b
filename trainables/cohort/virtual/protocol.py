"""What a virtual cohort is made of, as a model that a user can change from YAML.

Every constant says where it comes from. "plausible" marks a choice of ours that no paper dictates.
"""

from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    FiniteFloat,
    NonNegativeFloat,
    PositiveFloat,
    model_validator,
)

from trainables.frozen import FrozenModel

Fraction = Annotated[float, Field(ge=0, le=1)]


def _ordered(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise ValueError(f"a range goes from low to high, not {values[0]} to {values[1]}")
    return values


Range = Annotated[tuple[NonNegativeFloat, NonNegativeFloat], AfterValidator(_ordered)]
PositiveRange = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ordered)]
FractionRange = Annotated[tuple[Fraction, Fraction], AfterValidator(_ordered)]


class Model(FrozenModel, allow_inf_nan=False):
    """A part of the configuration whose numbers are finite."""


class Plasma(Model):
    """Biexponential plasma concentration (Weinmann et al., Physiol Chem Phys Med NMR 1984; Tofts 1991)."""

    amplitudes_kg_per_l: tuple[PositiveFloat, PositiveFloat] = (3.99, 4.78)
    fast_rate_per_min: PositiveFloat = 0.144
    # 0.0111 is Weinmann's gadopentetate; 0.0077 is gadobutrol's terminal half-life of 1.5 h (its label).
    slow_rate_per_min: PositiveRange = (0.0077, 0.0111)


class Protocol(Model):
    """Injection, sequence and the scanner's imperfections."""

    agent: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")] = "gadobutrol"  # BIDS label after ce-
    dose_mmol_per_kg: NonNegativeFloat = 0.1  # the standard single dose
    plasma: Plasma = Plasma()
    relaxivity_per_s_mm: NonNegativeFloat = 4.5  # gadobutrol in blood at 3 T (Szomolanyi et al., Invest Radiol 2019)
    magnetic_field_tesla: PositiveFloat = 3.0  # only told: the T1 of each compartment holds the field

    early_minutes: PositiveFloat = 10.0
    early_sd_minutes: NonNegativeFloat = 0.7  # plausible
    delayed_minutes: PositiveFloat = 60.0
    delayed_sd_minutes: NonNegativeFloat = 4.0  # plausible

    repetition_time_seconds: PositiveFloat = 0.007  # spoiled gradient echo, as 3-D T1w at 3 T
    flip_angle_degrees: Annotated[float, Field(gt=0, le=90)] = 15.0

    noise_fraction: Fraction = 0.022  # SD of the Rician noise over the brain's median signal; plausible
    shared_bias_fraction: Fraction = 0.10  # largest deviation of the coils' shading, the same in both scans
    own_bias_fraction: Fraction = 0.02  # and of what differs between them
    # A scan's gain is one of three: what both scans of a session share, what the scanner does by itself, and a rest.
    gain_fraction: Fraction = 0.15  # range around 1, shared by the two scans, as most of the bias is
    gain_compensation: Fraction = 0.7  # how much of a change of its brightest signals a scanner makes up for
    own_gain_fraction: Fraction = 0.04  # range around 1 of each scan alone: nobody can predict it, so it stays small
    shift_sd_mm: NonNegativeFloat = 0.12  # residual misalignment of a good rigid registration
    rotation_sd_degrees: NonNegativeFloat = 0.3

    @model_validator(mode="after")
    def _times_in_order(self) -> Self:
        # Times are drawn within three standard deviations.
        early, delayed = self.early_sd_minutes * 3, self.delayed_sd_minutes * 3
        if self.early_minutes - early <= 0:
            raise ValueError("early_minutes must lie more than three early_sd_minutes after the injection")
        if self.early_minutes + early >= self.delayed_minutes - delayed:
            raise ValueError("delayed_minutes must lie after early_minutes, three standard deviations included")
        return self


class Compartment(Model):
    """One kind of tissue: extended Tofts parameters, native T1 at the protocol's field, proton density.

    A range is drawn from uniformly, once a subject.
    """

    transfer_per_min: Range = (0.0, 0.0)
    extravascular_fraction: FractionRange = (0.2, 0.2)
    plasma_fraction: Fraction = 0.0
    t1_seconds: PositiveRange
    proton_density: Fraction = 0.82

    @model_validator(mode="after")
    def _somewhere_to_go(self) -> Self:
        if self.transfer_per_min[1] > 0 and self.extravascular_fraction[0] == 0:
            raise ValueError("extravascular_fraction must be above 0 where transfer_per_min is")
        return self


def _compartment(
    transfer: tuple[float, float],
    extravascular: tuple[float, float],
    plasma: float,
    t1: tuple[float, float],
    proton_density: float = 0.82,
) -> Compartment:
    return Compartment(
        transfer_per_min=transfer,
        extravascular_fraction=extravascular,
        plasma_fraction=plasma,
        t1_seconds=t1,
        proton_density=proton_density,
    )


class Compartments(Model):
    """Every tissue of the virtual head.

    T1 at 3 T of grey and white matter, CSF and blood: Wright et al., MAGMA 2008; Lu et al., MRM 2004; Stanisz et
    al., MRM 2005. Proton densities: Tofts, Quantitative MRI of the Brain, 2003. Meningioma's K: Yang et al., AJNR
    2003. The other kinetics are plausible choices within published DCE-MRI values.
    """

    gray_matter: Compartment = _compartment((2e-4, 2e-4), (0.2, 0.2), 0.03, (1.45, 1.60), 0.82)
    white_matter: Compartment = _compartment((1e-4, 1e-4), (0.2, 0.2), 0.015, (0.84, 0.87), 0.70)
    # Gadolinium seeps into CSF within the hour, far too little to brighten it: about 0.006 mM at 60 min.
    cerebrospinal_fluid: Compartment = _compartment((1e-4, 4e-4), (1.0, 1.0), 0.0, (4.0, 4.2), 1.0)
    # 0.57 of blood is plasma (haematocrit 0.43), and nothing leaves it.
    blood: Compartment = _compartment((0.0, 0.0), (0.2, 0.2), 0.57, (1.6, 1.6), 0.82)
    meninges: Compartment = _compartment((0.08, 0.12), (0.28, 0.32), 0.15, (1.2, 1.4), 0.75)
    choroid_plexus: Compartment = _compartment((0.10, 0.14), (0.38, 0.42), 0.20, (1.5, 1.7), 0.85)
    glioblastoma: Compartment = _compartment((0.03, 0.10), (0.2, 0.4), 0.05, (1.4, 1.8), 0.85)
    metastasis: Compartment = _compartment((0.05, 0.15), (0.25, 0.45), 0.05, (1.3, 1.7), 0.85)
    meningioma: Compartment = _compartment((0.06, 0.20), (0.15, 0.30), 0.15, (1.3, 1.7), 0.82)
    radiation_necrosis: Compartment = _compartment((0.004, 0.012), (0.35, 0.55), 0.01, (1.5, 2.2), 0.88)
    active_plaque: Compartment = _compartment((0.004, 0.020), (0.3, 0.3), 0.02, (0.85, 1.1), 0.80)
    necrotic_core: Compartment = _compartment((0.0005, 0.003), (0.6, 0.6), 0.0, (2.2, 3.0), 0.95)
    # Oedema and old plaques do not leak: white matter with more water.
    edema: Compartment = _compartment((1e-4, 1e-4), (0.2, 0.2), 0.015, (1.2, 1.5), 0.82)

    @model_validator(mode="before")
    @classmethod
    def _over_the_defaults(cls, given: Any) -> Any:
        """A user names only what differs, e.g. `blood: {t1_seconds: [1.2, 1.2]}`."""
        if not isinstance(given, dict):
            return given
        merged = dict(given)
        for name, values in given.items():
            if name in cls.model_fields and isinstance(values, dict):
                merged[name] = {**cls.model_fields[name].default.model_dump(), **values}
        return merged


class LesionMix(Model):
    """Shares, in any unit, of the subjects with each main lesion. Plausible, not an epidemiology."""

    glioblastoma: NonNegativeFloat = 0.25
    recurrence: NonNegativeFloat = 0.20  # tumour and radiation necrosis in one lesion: why one images late
    radiation_necrosis: NonNegativeFloat = 0.20
    metastases: NonNegativeFloat = 0.15
    meningioma: NonNegativeFloat = 0.10
    multiple_sclerosis: NonNegativeFloat = 0.10

    @model_validator(mode="after")
    def _something(self) -> Self:
        if sum(self.shares().values()) == 0:
            raise ValueError("at least one lesion kind needs a share above 0")
        return self

    def shares(self) -> dict[str, float]:
        """The share of each kind."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class Anatomy(Model):
    """How much heads differ. All plausible."""

    size_sd_fraction: Fraction = 0.04
    rotation_sd_degrees: NonNegativeFloat = 4.0
    shift_sd_mm: NonNegativeFloat = 3.0
    coarse_warp_sd_mm: NonNegativeFloat = 3.0  # nodes 40 mm apart
    fine_warp_sd_mm: NonNegativeFloat = 1.5  # nodes 20 mm apart
    csf_factor: PositiveRange = (1.5, 4.0)  # how far CSF wins over tissue where they share a voxel: atrophy
    t1_texture_fraction: Fraction = 0.02
    lesion_size_factor: PositiveFloat = 1.0


class VirtualCohortConfig(Model):
    """A whole virtual cohort: the same config gives the same bytes.

    A subject depends on the seed and its number, and its lesion's kind also on its split, so that each split
    holds the kinds in the same proportions.
    """

    num_subjects: Annotated[int, Field(ge=1, le=100_000)] = 80
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    resolution: Annotated[FiniteFloat, Field(ge=0.7, le=8)] = 2.0  # mm, isotropic; at 0.7 a process takes 2 GiB
    num_train: Annotated[int, Field(ge=0)] | None = None  # None: 60 %
    num_validation: Annotated[int, Field(ge=0)] | None = None  # None: 10 %
    num_test: Annotated[int, Field(ge=0)] | None = None  # None: the rest, 30 %
    protocol: Protocol = Protocol()
    compartments: Compartments = Compartments()
    lesions: LesionMix = LesionMix()
    anatomy: Anatomy = Anatomy()

    @model_validator(mode="before")
    @classmethod
    def _scaled_splits(cls, given: Any) -> Any:
        """Fills the numbers that a user left out, so that the written config names all three."""
        if not isinstance(given, dict):
            return given
        total = given.get("num_subjects", cls.model_fields["num_subjects"].default)
        asked = {name: given.get(name) for name in ("num_train", "num_validation", "num_test")}
        if not isinstance(total, int) or not all(value is None or isinstance(value, int) for value in asked.values()):
            return given  # the field validators say what is wrong
        return {**given, **_share_out(total, asked)}

    @model_validator(mode="after")
    def _splits_add_up(self) -> Self:
        if (total := sum(count for _, count in self.splits())) != self.num_subjects:
            raise ValueError(f"num_train + num_validation + num_test is {total}, not num_subjects {self.num_subjects}")
        return self

    def splits(self) -> tuple[tuple[str, int], ...]:
        """Each split with its number of subjects, in the subjects' order."""
        return (
            ("train", self.num_train or 0),
            ("validation", self.num_validation or 0),
            ("test", self.num_test or 0),
        )


def _share_out(total: int, asked: dict[str, int | None]) -> dict[str, int]:
    """The missing split sizes in the proportion 6 : 1 : 3, by largest remainder."""
    proportions = {"num_train": 6.0, "num_validation": 1.0, "num_test": 3.0}
    missing = {name: proportions[name] for name, value in asked.items() if value is None}
    left = max(total - sum(value or 0 for value in asked.values()), 0)
    given = {name: value for name, value in asked.items() if value is not None}
    shared = apportion(left, missing)
    if left >= len(missing) and 0 in shared.values():  # no split stays empty while there are subjects enough
        rest = apportion(left - len(missing), missing)
        shared = {name: count + 1 for name, count in rest.items()}
    return given | shared


def apportion(total: int, shares: dict[str, float]) -> dict[str, int]:
    """`total` seats by shares, largest remainder (Hamilton); ties go to the earlier name."""
    if not shares:
        return {}
    quotas = {name: total * share / sum(shares.values()) for name, share in shares.items()}
    seats = {name: int(quota) for name, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda name: seats[name] - quotas[name])
    for name in by_remainder[: total - sum(seats.values())]:
        seats[name] += 1
    return seats
