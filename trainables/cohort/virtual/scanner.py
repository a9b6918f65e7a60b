"""From concentrations to an image: the sequence's signal and the scanner's imperfections."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainables.cohort.virtual.protocol import Protocol

_BRIGHTEST_PERCENTILE = 99.95  # the large sinuses, whatever the lesion


def spoiled_gradient_echo(
    protocol: Protocol, concentration: ArrayLike, t1_seconds: ArrayLike, proton_density: ArrayLike
) -> NDArray:
    """Steady-state signal PD sin(a) (1 - E) / (1 - E cos(a)), E = exp(-TR R1), R1 = 1 / T1 + r1 C.

    T2* decay is left out (echo times of 2-3 ms). Source: Haase et al., JMR 1986.

    Args:
        protocol: TR, flip angle a and relaxivity r1.
        concentration: C in mM, broadcast against the others.
        t1_seconds: native T1.
        proton_density: PD, 1 for water.
    """
    rate = 1 / np.asarray(t1_seconds) + protocol.relaxivity_per_s_mm * np.asarray(concentration)
    recovered = -np.expm1(-protocol.repetition_time_seconds * rate)
    angle = np.deg2rad(protocol.flip_angle_degrees)
    # 1 - E cos(a) = 1 - cos(a) + cos(a) (1 - E) keeps the digits of a small TR R1.
    return proton_density * np.sin(angle) * recovered / (1 - np.cos(angle) * (1 - recovered))


def automatic_gains(signals: list[NDArray], compensation: float) -> NDArray[np.float64]:
    """The gain that a scanner chooses for each scan of a pair, by the brightest of the head.

    A series is scaled to its largest signals, so when vessels and tumours have washed out, the same brain is stored
    brighter. Only the ratio of the two gains matters (the images are in no unit): their product is 1.

    Args:
        signals: the two scans, (N,) voxels each.
        compensation: 1 brings the brightest signals to one level, 0 leaves them; between, in the logarithm.
    """
    brightest = np.log([np.percentile(signal, _BRIGHTEST_PERCENTILE) for signal in signals])
    return np.exp(compensation * (brightest.mean() - brightest))


def rician(signal: NDArray, sd: float, rng: np.random.Generator) -> NDArray:
    """Magnitude of a signal with Gaussian noise of `sd` in both channels. Source: Gudbjartsson & Patz, MRM 1995."""
    real = signal + sd * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, sd * rng.standard_normal(signal.shape, dtype=np.float32))
