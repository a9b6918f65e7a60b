"""Lesions: blobs with a structure inside, each kind its own function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.cohort.virtual.anatomy import Head
from trainables.cohort.virtual.fields import wave_noise

NOT_ENHANCING = ("edema", "cerebrospinal_fluid")

# What a layer takes the place of.
WHITE, TISSUE, EVERYTHING = (1,), (0, 1), (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A compartment over part of the head; later layers displace earlier ones."""

    compartment: str
    """Its name in `Compartments`."""
    where: NDArray[np.intp]
    """(n,) indices into the head's voxels."""
    share: NDArray[np.float32]
    """(n,) how much of what may be displaced becomes this compartment."""
    transfer_factor: NDArray[np.float32]
    """(n,) local leakiness over the subject's mean."""
    displaces: Sequence[int]
    """What gives way: 0 grey matter, 1 white matter, 2 the rest (CSF and outside)."""


class Surgeon:
    """Puts lesions into one head."""

    def __init__(self, head: Head, size_factor: float, rng: np.random.Generator) -> None:
        self.head = head
        self.size_factor = size_factor
        self.rng = rng
        self.layers: list[Layer] = []
        self.drawn: list[dict] = []

    def place(self, likelihood: NDArray) -> NDArray[np.float32]:
        """Draws a voxel in proportion to a likelihood (N,). Returns its position (3,) in mm."""
        cumulative = np.cumsum(likelihood, dtype=float)
        return self.head.points[np.searchsorted(cumulative, self.rng.uniform(0, cumulative[-1]), side="right")]

    def parenchyma(self, deepest: float) -> NDArray[np.float32]:
        """Likelihood of a lesion's centre: in tissue, below the surface."""
        return (self.head.gray + 2 * self.head.white) ** 2 * (self.head.depth > deepest)

    def size(self, low: float, high: float) -> float:
        """Draws a radius in mm."""
        return self.size_factor * float(self.rng.uniform(low, high))

    def blob(self, center: NDArray, radius: float, irregularity: float, margin: float) -> tuple[NDArray, NDArray]:
        """An irregular ellipsoid.

        Returns:
            the voxels within `margin` mm of it, and how many mm each lies below its surface.
        """
        axes = self.rng.uniform(0.8, 1.25, 3).astype(np.float32)
        reach = 1.25 * radius * (1 + 2 * irregularity) + margin
        offset = self.head.points - center
        where = np.flatnonzero((np.abs(offset) < reach).all(axis=1))
        offset = offset[where]
        noise = wave_noise(offset, 0.55 * radius, self.rng)
        distance = np.linalg.norm(offset / axes, axis=1)
        return where, radius * (1 + irregularity * np.clip(noise, -2, 2)) - distance

    def add(
        self,
        compartment: str,
        where: NDArray,
        depth: NDArray,
        *,
        displaces: Sequence[int] = TISSUE,
        texture: float = 0.25,
    ) -> None:
        """Fills what lies below a surface: `depth` (n,) mm, with a soft edge of one voxel."""
        share = np.clip(depth / self.head.grid.spacing + 0.5, 0, 1).astype(np.float32)
        some = share > 0
        where, share = where[some], share[some]
        factor = np.exp(texture * wave_noise(self.head.points[where], 3.0, self.rng))
        self.layers.append(
            Layer(compartment=compartment, where=where, share=share, transfer_factor=factor, displaces=displaces)
        )

    def note(self, kind: str, center: NDArray, radius: float) -> None:
        """Remembers a lesion for the sidecar."""
        self.drawn.append({"kind": kind, "center_mm": [float(c) for c in center], "radius_mm": radius})


def _glioblastoma(surgeon: Surgeon) -> None:
    """A thick irregular rim around a necrotic core, in oedema."""
    radius, center = surgeon.size(15, 28), surgeon.place(surgeon.parenchyma(8))
    where, depth = surgeon.blob(center, radius, 0.16, 16)
    rim = surgeon.rng.uniform(0.25, 0.5) * radius
    surgeon.add("edema", where, depth + surgeon.size(5, 12), displaces=WHITE)
    surgeon.add("glioblastoma", where, depth, texture=0.4)
    surgeon.add("necrotic_core", where, depth - rim)
    surgeon.note("glioblastoma", center, radius)


def _radiation_necrosis(surgeon: Surgeon) -> None:
    """Leaky necrotic tissue with a ragged edge and holes, like a soap bubble, in much oedema."""
    radius, center = surgeon.size(15, 26), surgeon.place(surgeon.parenchyma(8))
    where, depth = surgeon.blob(center, radius, 0.25, 18)
    surgeon.add("edema", where, depth + surgeon.size(6, 14), displaces=WHITE)
    surgeon.add("radiation_necrosis", where, depth, texture=0.45)
    holes = 4.0 * (wave_noise(surgeon.head.points[where], 5.0, surgeon.rng) - 0.9)
    surgeon.add("necrotic_core", where, np.minimum(depth - 3, holes))
    surgeon.note("radiation_necrosis", center, radius)


def _recurrence(surgeon: Surgeon) -> None:
    """Radiation necrosis, and tumour growing again inside and beside it."""
    radius, center = surgeon.size(15, 28), surgeon.place(surgeon.parenchyma(8))
    where, depth = surgeon.blob(center, radius, 0.22, 16)
    surgeon.add("edema", where, depth + surgeon.size(5, 12), displaces=WHITE)
    surgeon.add("radiation_necrosis", where, depth, texture=0.45)
    patches = 0.5 * radius * wave_noise(surgeon.head.points[where], 0.6 * radius, surgeon.rng)
    surgeon.add("glioblastoma", where, np.minimum(depth, patches), texture=0.4)
    surgeon.add("necrotic_core", where, depth - surgeon.rng.uniform(0.5, 0.8) * radius)
    surgeon.note("recurrence", center, radius)


def _metastases(surgeon: Surgeon) -> None:
    """One to seven round lesions; the large ones have a core."""
    for _ in range(surgeon.rng.integers(1, 8)):
        radius = surgeon.size(1, 1) * float(np.exp(surgeon.rng.uniform(np.log(4), np.log(16))))
        center = surgeon.place(surgeon.parenchyma(5))
        where, depth = surgeon.blob(center, radius, 0.06, 12)
        surgeon.add("edema", where, depth + surgeon.rng.uniform(0.3, 1.0) * min(radius, 10), displaces=WHITE)
        surgeon.add("metastasis", where, depth)
        if radius > 7:
            surgeon.add("necrotic_core", where, depth - surgeon.rng.uniform(0.3, 0.6) * radius)
        surgeon.note("metastasis", center, radius)


def _meningioma(surgeon: Surgeon) -> None:
    """A smooth mass that sits on the dura and pushes into the brain behind a cleft of CSF."""
    radius, depth_of_center = surgeon.size(13, 23), surgeon.head.depth
    center = surgeon.place((depth_of_center > 1) & (depth_of_center < 4) & (surgeon.head.points[:, 2] > -30))
    where, depth = surgeon.blob(center, radius, 0.06, 6)
    inside = surgeon.head.depth[where] + 1
    surgeon.add("cerebrospinal_fluid", where, np.minimum(depth + 1.2, inside), displaces=EVERYTHING)
    surgeon.add("meningioma", where, np.minimum(depth, inside), texture=0.12, displaces=EVERYTHING)
    surgeon.note("meningioma", center, radius)


def _multiple_sclerosis(surgeon: Surgeon) -> None:
    """Ovoid plaques in the white matter near the ventricles: a few that leak, more that don't."""
    x, y, z = np.abs(surgeon.head.template_points[:, 0]), *surgeon.head.template_points[:, 1:].T
    near = np.exp(-(((x - 22) / 12) ** 2) - ((y + 18) / 40) ** 2 - ((z - 20) / 16) ** 2)
    likelihood = surgeon.head.white**2 * near
    num_active, num_old = surgeon.rng.integers(2, 7), surgeon.rng.integers(5, 16)
    for name, count in (("edema", num_old), ("active_plaque", num_active)):
        for _ in range(count):
            radius, center = surgeon.size(2.5, 6), surgeon.place(likelihood)
            where, depth = surgeon.blob(center, radius, 0.1, 3)
            surgeon.add(name, where, depth)
            surgeon.note("old_plaque" if name == "edema" else name, center, radius)


# The kinds of `LesionMix`.
KINDS: dict[str, Callable[[Surgeon], None]] = {
    "glioblastoma": _glioblastoma,
    "recurrence": _recurrence,
    "radiation_necrosis": _radiation_necrosis,
    "metastases": _metastases,
    "meningioma": _meningioma,
    "multiple_sclerosis": _multiple_sclerosis,
}


def draw_lesions(head: Head, kind: str, size_factor: float, rng: np.random.Generator) -> tuple[list[Layer], list[dict]]:
    """The layers of one subject's lesions, bottom first, and what was drawn."""
    surgeon = Surgeon(head, size_factor, rng)
    KINDS[kind](surgeon)
    return surgeon.layers, surgeon.drawn
