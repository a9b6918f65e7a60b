"""Contrast agent over time, against numbers worked out by hand and against numeric integration."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.integrate import quad

from trainables.cohort.virtual.kinetics import PlasmaCurve, tissue_concentration
from trainables.cohort.virtual.protocol import Compartments, Protocol
from trainables.cohort.virtual.scanner import spoiled_gradient_echo

WEINMANN = PlasmaCurve(dose_mmol_per_kg=0.1, amplitudes_kg_per_l=(3.99, 4.78), rates_per_min=(0.144, 0.0111))

# S60/S10 of each compartment at the middle of its ranges, from the design's table.
DELAYED_OVER_EARLY = {
    "blood": 0.71,
    "meninges": 0.75,
    "choroid_plexus": 0.70,
    "glioblastoma": 0.75,
    "metastasis": 0.73,
    "meningioma": 0.73,
    "radiation_necrosis": 1.27,
    "active_plaque": 1.02,
    "necrotic_core": 1.26,
    "gray_matter": 0.97,
    "white_matter": 0.99,
}


@pytest.mark.parametrize(("minutes", "millimolar"), [(0, 0.877), (10, 0.522), (60, 0.246)])
def test_plasma_concentration(minutes: float, millimolar: float) -> None:
    assert WEINMANN(minutes) == pytest.approx(millimolar, abs=5e-4)


@given(
    minutes=st.floats(0, 120),
    transfer=st.floats(0, 0.3),
    extravascular=st.floats(0.01, 1),
    plasma_fraction=st.floats(0, 1),
    slow_rate=st.floats(0.001, 0.05),
)
@example(minutes=60, transfer=0.0111 * 0.3, extravascular=0.3, plasma_fraction=0, slow_rate=0.0111)  # kep = m
@example(minutes=60, transfer=0.144 * 0.3, extravascular=0.3, plasma_fraction=0, slow_rate=0.0111)
def test_closed_form_equals_the_integral(
    minutes: float, transfer: float, extravascular: float, plasma_fraction: float, slow_rate: float
) -> None:
    plasma = PlasmaCurve(dose_mmol_per_kg=0.1, amplitudes_kg_per_l=(3.99, 4.78), rates_per_min=(0.144, slow_rate))
    kep = transfer / extravascular
    leaked, _ = quad(
        lambda s: float(plasma(s)) * np.exp(-kep * (minutes - s)), 0, minutes, epsabs=1e-12, epsrel=1e-10, limit=500
    )
    expected = plasma_fraction * float(plasma(minutes)) + transfer * leaked
    found = tissue_concentration(plasma, minutes, transfer, extravascular, plasma_fraction)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_broadcasts_over_leakiness() -> None:
    transfer = np.array([[0.0], [0.01], [0.1]])
    minutes = np.array([0.0, 10.0, 60.0, 120.0])
    found = tissue_concentration(WEINMANN, minutes, transfer, 0.3, 0.05)
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found[0], 0.05 * WEINMANN(minutes))
    np.testing.assert_allclose(found[:, 0], 0.05 * 0.877)
    assert (np.diff(found[:, 1], axis=0) > 0).all()


@pytest.mark.parametrize(("name", "expected"), DELAYED_OVER_EARLY.items())
def test_signal_ratio_of_each_compartment(name: str, expected: float) -> None:
    compartment = getattr(Compartments(), name)
    transfer, extravascular, t1 = (
        sum(ends) / 2
        for ends in (compartment.transfer_per_min, compartment.extravascular_fraction, compartment.t1_seconds)
    )
    early, delayed = (
        spoiled_gradient_echo(
            Protocol(),
            tissue_concentration(WEINMANN, minutes, transfer, extravascular, compartment.plasma_fraction),
            t1,
            compartment.proton_density,
        )
        for minutes in (10, 60)
    )
    assert delayed / early == pytest.approx(expected, rel=0.03)


def test_csf_hardly_enhances() -> None:
    csf = Compartments().cerebrospinal_fluid
    late = tissue_concentration(WEINMANN, 60, csf.transfer_per_min[1], 1.0, csf.plasma_fraction)
    assert 0 < late < 0.015  # mM
