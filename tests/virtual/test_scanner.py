"""The sequence's signal and the scanner's imperfections."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.cohort.virtual.protocol import Protocol
from trainables.cohort.virtual.scanner import automatic_gains, rician, spoiled_gradient_echo


def test_signal_worked_out_by_hand() -> None:
    # TR / T1 = ln 2, so E = 1/2; a = 60 degrees, cos a = 1/2: S = PD (sqrt 3 / 2) (1/2) / (3/4) = PD / sqrt 3.
    protocol = Protocol(repetition_time_seconds=np.log(2), flip_angle_degrees=60)
    assert spoiled_gradient_echo(protocol, 0, 1.0, 0.9) == pytest.approx(0.9 / np.sqrt(3))


def test_contrast_agent_shortens_t1() -> None:
    # 1 / 1.6 s + 4.5 x 0.3 = 1.975 /s
    assert spoiled_gradient_echo(Protocol(), 0.3, 1.6, 1) == pytest.approx(
        spoiled_gradient_echo(Protocol(), 0, 1 / 1.975, 1)
    )


@given(
    concentration=st.floats(0, 5),
    t1=st.floats(0.1, 5),
    angle=st.floats(1, 90),
    repetition=st.floats(0.002, 3),
)
def test_signal_grows_with_concentration_and_stays_below_one(
    concentration: float, t1: float, angle: float, repetition: float
) -> None:
    protocol = Protocol(flip_angle_degrees=angle, repetition_time_seconds=repetition)
    less, more = (spoiled_gradient_echo(protocol, c, t1, 1) for c in (concentration, concentration + 0.1))
    assert 0 < less <= more <= 1


def test_noise_is_rician() -> None:
    rng = np.random.default_rng(0)
    nothing = rician(np.zeros(200_000, np.float32), 2.0, rng)
    assert nothing.mean() == pytest.approx(2 * np.sqrt(np.pi / 2), rel=0.01)  # Rayleigh
    strong = rician(np.full(200_000, 100, np.float32), 2.0, rng)
    assert strong.std() == pytest.approx(2, rel=0.01)
    assert strong.mean() == pytest.approx(np.sqrt(100**2 + 2**2), rel=1e-3)
    assert strong.dtype == np.float32


def test_gain_follows_the_brightest_signals() -> None:
    early = np.linspace(0, 1, 10_001)
    delayed = np.where(early > 0.99005, early / 1.21, early)  # only the brightest wash out
    np.testing.assert_allclose(automatic_gains([early, early / 1.21], 1.0), [1 / 1.1, 1.1])
    np.testing.assert_allclose(automatic_gains([early, early / 1.21], 0.5), [1 / 1.1**0.5, 1.1**0.5])
    np.testing.assert_allclose(automatic_gains([early, early / 1.21], 0.0), [1, 1])
    gains = automatic_gains([early, delayed], 1.0)
    assert gains[1] / gains[0] == pytest.approx(0.9995 / 0.9895, rel=1e-4)
