"""One subject: what each kind of lesion does between the two scans."""

import numpy as np
import pytest

from trainables.cohort.virtual import VirtualCohortConfig
from trainables.cohort.virtual.anatomy import Template
from trainables.cohort.virtual.lesions import KINDS
from trainables.cohort.virtual.protocol import Protocol
from trainables.cohort.virtual.subject import VirtualSubject, simulate_subject

PERFECT = {
    "noise_fraction": 0,
    "shared_bias_fraction": 0,
    "own_bias_fraction": 0,
    "gain_fraction": 0,
    "gain_compensation": 0,
    "own_gain_fraction": 0,
    "shift_sd_mm": 0,
    "rotation_sd_degrees": 0,
}


def _subject(template: Template, kind: str, seed: int = 0, **protocol: float) -> VirtualSubject:
    config = VirtualCohortConfig(resolution=4.0, protocol=protocol)
    return simulate_subject(template, config, kind, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_every_kind_makes_a_lesion_in_the_brain(template: Template, kind: str, seed: int) -> None:
    subject = _subject(template, kind, seed)
    millilitres = subject.lesion.sum() * 4.0**3 / 1000
    assert 0.1 < millilitres < 120
    assert (subject.brain | ~subject.lesion).all()
    for image in (subject.early, subject.delayed):
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert (image >= 0).all()
        assert image[subject.brain].min() > 0
    assert subject.parameters["lesion_kind"] == kind
    assert subject.parameters["lesions"]


def _wash(template: Template, kind: str, seed: int) -> float:
    """Delayed over early signal of the lesion without the scanner's imperfections."""
    subject = _subject(template, kind, seed, **PERFECT)
    return float(subject.delayed[subject.lesion].sum() / subject.early[subject.lesion].sum())


@pytest.mark.parametrize("seed", range(3))
def test_tumour_washes_out_while_necrosis_fills_in(template: Template, seed: int) -> None:
    assert _wash(template, "meningioma", seed) < 0.95
    assert _wash(template, "radiation_necrosis", seed) > 1.05


def test_a_perfect_scanner_without_agent_sees_nothing_change(template: Template) -> None:
    subject = _subject(template, "glioblastoma", dose_mmol_per_kg=0, **PERFECT)
    np.testing.assert_allclose(subject.delayed, subject.early, rtol=1e-3, atol=1e-5)


def test_noise_has_the_protocols_strength(template: Template) -> None:
    quiet, noisy = (
        _subject(template, "meningioma", **{**PERFECT, "noise_fraction": fraction}) for fraction in (0, 0.05)
    )
    difference = (noisy.early - quiet.early)[quiet.brain]
    assert difference.std() == pytest.approx(0.05 * np.median(quiet.early[quiet.brain]), rel=0.05)


def test_bias_reaches_its_fraction_and_is_shared(template: Template) -> None:
    flat, shaded, own = (
        _subject(template, "meningioma", **{**PERFECT, **bias})
        for bias in ({}, {"shared_bias_fraction": 0.1}, {"own_bias_fraction": 0.02})
    )
    early, delayed = (
        getattr(shaded, scan)[flat.brain] / getattr(flat, scan)[flat.brain] for scan in ("early", "delayed")
    )
    np.testing.assert_allclose(early, delayed, rtol=1e-3)
    assert 0.05 < np.abs(early - 1).max() <= 0.1001
    ratio = (own.early / np.maximum(flat.early, 1e-9))[flat.brain]
    assert 0.01 < np.abs(ratio - 1).max() <= 0.0201
    assert not np.allclose(ratio, (own.delayed / np.maximum(flat.delayed, 1e-9))[flat.brain], rtol=1e-3)


def test_times_are_jittered_within_three_deviations(template: Template) -> None:
    times = np.array(
        [
            [subject.parameters["kinetics"][key] for key in ("early_minutes", "delayed_minutes")]
            for subject in (_subject(template, "multiple_sclerosis", seed) for seed in range(12))
        ]
    )
    protocol = Protocol()
    assert (np.abs(times[:, 0] - protocol.early_minutes) <= 3 * protocol.early_sd_minutes).all()
    assert (np.abs(times[:, 1] - protocol.delayed_minutes) <= 3 * protocol.delayed_sd_minutes).all()
    assert 0.3 < times[:, 0].std() < 1.2
    assert 2 < times[:, 1].std() < 7


def test_gain_is_shared_but_for_the_scanners_own(template: Template) -> None:
    flat, session, own, automatic = (
        _subject(template, "meningioma", **{**PERFECT, **gain})
        for gain in ({}, {"gain_fraction": 0.15}, {"own_gain_fraction": 0.02}, {"gain_compensation": 0.7})
    )

    def gains(subject: VirtualSubject) -> list[float]:
        scans = [(getattr(subject, scan), getattr(flat, scan)) for scan in ("early", "delayed")]
        ratios = [image[flat.brain] / reference[flat.brain] for image, reference in scans]
        for ratio in ratios:
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
        return [float(ratio[0]) for ratio in ratios]

    early, delayed = gains(session)
    assert early == pytest.approx(delayed)
    assert 0.85 <= early <= 1.15
    early, delayed = gains(own)
    assert early != pytest.approx(delayed, rel=1e-3)
    assert 0.98 <= min(early, delayed) <= max(early, delayed) <= 1.02
    early, delayed = gains(automatic)
    assert early < 1 < delayed  # vessels have washed out
    assert early * delayed == pytest.approx(1)
