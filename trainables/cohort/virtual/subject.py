"""One virtual subject: head, lesions, contrast agent, two scans."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trainables.cohort.virtual.anatomy import DURA_MM, Head, Template, draw_head, rotation, sample
from trainables.cohort.virtual.fields import spline_field
from trainables.cohort.virtual.kinetics import PlasmaCurve, tissue_concentration
from trainables.cohort.virtual.lesions import EVERYTHING, NOT_ENHANCING, Layer, draw_lesions
from trainables.cohort.virtual.protocol import Compartment, Protocol, VirtualCohortConfig
from trainables.cohort.virtual.scanner import automatic_gains, rician, spoiled_gradient_echo
from trainables.cohort.virtual.vessels import draw_choroid_plexus, draw_vessels, rasterize


@dataclass(frozen=True, kw_only=True)
class VirtualSubject:
    """What a scanner hands over: (X, Y, Z) arrays on one grid, and everything that was drawn."""

    affine: NDArray[np.float64]
    early: NDArray[np.float32]
    delayed: NDArray[np.float32]
    brain: NDArray[np.bool_]
    lesion: NDArray[np.bool_]
    parameters: dict


def simulate_subject(
    template: Template, config: VirtualCohortConfig, kind: str, rng: np.random.Generator
) -> VirtualSubject:
    """Draws one subject whose main lesion is of `kind`."""
    # Each part has its own stream, so that a change in one leaves the others as they were.
    head_rng, vessel_rng, lesion_rng, kinetics_rng, scanner_rng = rng.spawn(5)
    head, drawn_head = draw_head(template, config.anatomy, head_rng)
    lesions, drawn_lesions = draw_lesions(head, kind, config.anatomy.lesion_size_factor, lesion_rng)
    layers = lesions + _membranes_and_vessels(head, template, vessel_rng)
    amounts, base = displace(head, layers)

    lesion = np.zeros(len(head.voxels), np.float32)
    for layer, amount in zip(lesions, amounts, strict=False):
        if layer.compartment not in NOT_ENHANCING:
            lesion[layer.where] += amount

    signals, drawn_kinetics = _signals(head, base, layers, amounts, config, kinetics_rng)
    early, delayed, drawn_scanner = _scan(head, signals, config.protocol, scanner_rng)
    return VirtualSubject(
        affine=head.grid.affine,
        early=early,
        delayed=delayed,
        brain=head.volume(head.brain, np.bool_),
        lesion=head.volume((lesion >= 0.5) & head.brain, np.bool_),
        parameters={
            "lesion_kind": kind,
            "lesions": drawn_lesions,
            "kinetics": drawn_kinetics,
            "scanner": drawn_scanner,
            "head": drawn_head,
        },
    )


def _membranes_and_vessels(head: Head, template: Template, rng: np.random.Generator) -> list[Layer]:
    """Dura, choroid plexus and vessels."""
    spacing = head.grid.spacing
    outer, inner = (np.clip((head.depth + edge) / spacing + 0.5, 0, 1) for edge in (DURA_MM, 0.0))
    choroid = sample(rasterize(draw_choroid_plexus(rng), template.grid), template.grid, head.template_points)
    vessels = sample(rasterize(draw_vessels(template, rng), template.grid), template.grid, head.template_points)
    return [
        _layer("meninges", np.maximum(outer - inner, head.folds)),
        _layer("choroid_plexus", choroid * np.clip(2 * head.csf, 0, 1)),
        _layer("blood", vessels),
    ]


def _layer(compartment: str, share: NDArray) -> Layer:
    where = np.flatnonzero(share > 0)
    ones = np.ones(len(where), np.float32)
    return Layer(compartment=compartment, where=where, share=share[where], transfer_factor=ones, displaces=EVERYTHING)


def displace(head: Head, layers: list[Layer]) -> tuple[list[NDArray], NDArray]:
    """Composes the layers over the head's own tissue, so that no voxel holds more than itself.

    Returns:
        for each layer its share (n,) of each voxel of `layer.where`, and what is left of grey matter, white
        matter and CSF (3, N).
    """
    base = np.stack([head.gray, head.white, 1 - head.gray - head.white])
    left = np.ones_like(base)
    amounts = []
    for layer in reversed(layers):  # the last layer is on top and takes first
        rows = np.ix_(np.asarray(layer.displaces), layer.where)
        amounts.append(layer.share * (base[rows] * left[rows]).sum(axis=0))
        left[rows] *= 1 - layer.share
    return amounts[::-1], np.stack([head.gray * left[0], head.white * left[1], head.csf * left[2]])


def _signals(
    head: Head,
    base: NDArray,
    layers: list[Layer],
    amounts: list[NDArray],
    config: VirtualCohortConfig,
    rng: np.random.Generator,
) -> tuple[list[NDArray], dict]:
    """Noise-free signal (N,) of both scans."""
    protocol, names = config.protocol, type(config.compartments).model_fields
    plasma = PlasmaCurve(
        dose_mmol_per_kg=protocol.dose_mmol_per_kg,
        amplitudes_kg_per_l=protocol.plasma.amplitudes_kg_per_l,
        rates_per_min=(protocol.plasma.fast_rate_per_min, rng.uniform(*protocol.plasma.slow_rate_per_min)),
    )
    minutes = [
        _normal(protocol.early_minutes, protocol.early_sd_minutes, rng),
        _normal(protocol.delayed_minutes, protocol.delayed_sd_minutes, rng),
    ]
    tissues = {name: _Tissue.draw(getattr(config.compartments, name), rng) for name in names}
    texture = 1 + config.anatomy.t1_texture_fraction * spline_field(head.grid, 12, rng).reshape(-1)[head.voxels]

    signals = []
    for minute in minutes:
        signal = base[0] * tissues["gray_matter"].signal(protocol, plasma, minute, t1_factor=texture)
        signal += base[1] * tissues["white_matter"].signal(protocol, plasma, minute, t1_factor=texture)
        signal += base[2] * tissues["cerebrospinal_fluid"].signal(protocol, plasma, minute)
        for layer, amount in zip(layers, amounts, strict=True):
            tissue = tissues[layer.compartment]
            signal[layer.where] += amount * tissue.signal(protocol, plasma, minute, layer.transfer_factor)
        signals.append(signal.astype(np.float32))
    drawn = {
        "early_minutes": minutes[0],
        "delayed_minutes": minutes[1],
        "plasma_slow_rate_per_min": plasma.rates_per_min[1],
        "compartments": {name: vars(tissue) for name, tissue in tissues.items()},
    }
    return signals, drawn


@dataclass(frozen=True, kw_only=True)
class _Tissue:
    """A compartment as drawn for one subject."""

    transfer_per_min: float
    extravascular_fraction: float
    plasma_fraction: float
    t1_seconds: float
    proton_density: float

    @classmethod
    def draw(cls, compartment: Compartment, rng: np.random.Generator) -> Self:
        return cls(
            transfer_per_min=rng.uniform(*compartment.transfer_per_min),
            extravascular_fraction=rng.uniform(*compartment.extravascular_fraction),
            plasma_fraction=compartment.plasma_fraction,
            t1_seconds=rng.uniform(*compartment.t1_seconds),
            proton_density=compartment.proton_density,
        )

    def signal(
        self,
        protocol: Protocol,
        plasma: PlasmaCurve,
        minutes: float,
        transfer_factor: NDArray | float = 1.0,
        t1_factor: NDArray | float = 1.0,
    ) -> NDArray:
        concentration = tissue_concentration(
            plasma,
            minutes,
            self.transfer_per_min * transfer_factor,
            self.extravascular_fraction,
            self.plasma_fraction,
        )
        return spoiled_gradient_echo(protocol, concentration, self.t1_seconds * t1_factor, self.proton_density)


def _scan(
    head: Head, signals: list[NDArray], protocol: Protocol, rng: np.random.Generator
) -> tuple[NDArray, NDArray, dict]:
    """Both magnitude images, the delayed one slightly moved."""
    shift = rng.normal(0, protocol.shift_sd_mm, 3)
    angles = rng.normal(0, protocol.rotation_sd_degrees, 3)
    moved = head.grid.index(head.points @ rotation(angles).T + shift).T
    signals = [signals[0], ndimage.map_coordinates(head.volume(signals[1]), moved, order=3)]

    shared_bias = _bias(head, protocol.shared_bias_fraction, rng)
    signals = [shared_bias * _bias(head, protocol.own_bias_fraction, rng) * signal for signal in signals]
    gains = automatic_gains(signals, protocol.gain_compensation)
    gains *= 1 + protocol.gain_fraction * rng.uniform(-1, 1)
    gains *= 1 + protocol.own_gain_fraction * rng.uniform(-1, 1, 2)
    images = []
    for signal, gain in zip(signals, gains, strict=True):
        sd = protocol.noise_fraction * float(np.median(signal[head.brain]))
        images.append(head.volume(np.float32(gain) * rician(signal.astype(np.float32), sd, rng)))
    drawn = {"shift_mm": shift.tolist(), "rotation_degrees": angles.tolist(), "gains": gains.tolist()}
    return images[0], images[1], drawn


def _bias(head: Head, fraction: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(N,) smooth shading whose largest deviation from 1 is `fraction`."""
    field = spline_field(head.grid, 80, rng).reshape(-1)[head.voxels]
    return 1 + np.float32(fraction) * field / np.abs(field).max()


def _normal(mean: float, sd: float, rng: np.random.Generator) -> float:
    """A normal deviate within three standard deviations."""
    return mean + sd * float(np.clip(rng.standard_normal(), -3, 3))
