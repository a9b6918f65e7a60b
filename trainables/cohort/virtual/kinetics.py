"""How much contrast agent is where, when: plasma and tissue curves in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import exprel


@dataclass(frozen=True, kw_only=True)
class PlasmaCurve:
    """The plasma's concentration over time: Cp(t) = D sum_i a_i exp(-m_i t).

    Source: Tofts & Kermode, MRM 1991, eq. 1.
    """

    dose_mmol_per_kg: float
    """D."""
    amplitudes_kg_per_l: Sequence[float]
    """a_i."""
    rates_per_min: Sequence[float]
    """m_i."""

    def __call__(self, minutes: ArrayLike) -> NDArray[np.float64]:
        """Plasma concentration in mM at `minutes` >= 0 after the injection."""
        minutes = np.asarray(minutes, dtype=float)
        terms = zip(self.amplitudes_kg_per_l, self.rates_per_min, strict=True)
        return self.dose_mmol_per_kg * np.sum([a * np.exp(-m * minutes) for a, m in terms], axis=0)


def tissue_concentration(
    plasma: PlasmaCurve,
    minutes: ArrayLike,
    transfer_per_min: ArrayLike,
    extravascular_fraction: ArrayLike,
    plasma_fraction: ArrayLike,
) -> NDArray[np.float64]:
    """A tissue's concentration in mM by the extended Tofts model, for a biexponential plasma curve.

    C(t) = vp Cp(t) + K int_0^t Cp(s) exp(-kep (t - s)) ds with kep = K / ve. The integral is
    D sum_i a_i (exp(-kep t) - exp(-m_i t)) / (m_i - kep), written with exprel(x) = (exp(x) - 1) / x so that
    kep = m_i is no special case.

    Source: Tofts et al., JMRI 1999, eq. 8.

    Args:
        plasma: the plasma curve.
        minutes: t, any shape.
        transfer_per_min: K, broadcast against t, as are the others.
        extravascular_fraction: ve > 0.
        plasma_fraction: vp.
    """
    minutes = np.asarray(minutes, dtype=float)
    transfer = np.asarray(transfer_per_min, dtype=float)
    kep = transfer / np.asarray(extravascular_fraction, dtype=float)
    leaked = sum(
        # The larger exponent goes outside, so that neither factor overflows.
        a * minutes * np.exp(-np.minimum(kep, m) * minutes) * exprel(-np.abs(m - kep) * minutes)
        for a, m in zip(plasma.amplitudes_kg_per_l, plasma.rates_per_min, strict=True)
    )
    return np.asarray(plasma_fraction) * plasma(minutes) + transfer * plasma.dose_mmol_per_kg * leaked
