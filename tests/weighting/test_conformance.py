"""What every weighting must hold to, whatever it does."""

import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from tests.weighting.streams import SPECS, losses_of, make, name_of, stream
from trainables.errors import UserError
from trainables.weighting import WEIGHTINGS

every_weighting = pytest.mark.parametrize("spec", SPECS, ids=name_of)

KNOWS_ITS_TERMS = {"fixed", "single", "random"}
"""Weightings that treat terms by their place: permuting the terms does not permute their weights."""
WAITS_FOR_DEVICE = {"geometric-mean"}
"""TorchJD looks at the losses' signs on the host."""
EAGER_ONLY = {"uncertainty", "imtl-l", "dwa", "random", "geometric-mean", "stch", "gradnorm", "relobralo"}
"""Weightings that differentiate or draw on the host inside a step: the compiler leaves parts of it as they are."""


def compiled(weighting, spec):
    """This backend splits forward from backward as the default one does, without compiling machine code."""
    torch._dynamo.reset()
    whole = spec["name"] not in EAGER_ONLY
    return torch.compile(weighting, fullgraph=whole, backend="aot_eager_decomp_partition")


def assert_valid(weights):
    assert weights.isfinite().all()
    assert (weights >= 0).all()
    assert weights.sum().item() == pytest.approx(1, abs=1e-5)
    assert not weights.requires_grad


def run(weighting, shared, values):
    """One training step; returns total and weights. Parameters of the weighting learn by sign descent."""
    total = weighting(losses_of(values, shared))
    shared.grad = None
    if total.requires_grad:
        total.backward()
    with torch.no_grad():
        for parameter in weighting.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad.sign()
                parameter.grad = None
    return total.detach(), weighting.weights.clone()


@every_weighting
@settings(max_examples=10, deadline=None)
@given(num_terms=st.integers(1, 32), seed=st.integers(0, 2**16))
def test_weights_are_a_distribution_for_any_number_of_terms(spec, num_terms, seed):
    weighting, shared = make(spec, num_terms)
    for values in stream(num_terms, 8, seed):
        total, weights = run(weighting, shared, values)
        assert total.shape == ()
        assert_valid(weights)
        assert_valid(weighting.mean_weights)


@every_weighting
def test_the_gradient_of_the_total_is_the_weights(spec):
    weighting, shared = make(spec)
    for values in stream(4, 7):
        losses = losses_of(values, shared).detach().requires_grad_()
        # GradNorm differentiates through the losses, so they must depend on what is shared.
        total = weighting(losses + 0 * losses_of(values, shared))
        total.backward()
        assert torch.allclose(losses.grad, weighting.weights, atol=1e-6)
        assert total.item() == pytest.approx((weighting.weights * losses).sum().item(), rel=1e-5)


@every_weighting
def test_permuting_the_terms_permutes_the_weights(spec):
    if spec["name"] in KNOWS_ITS_TERMS:
        return
    order = torch.tensor([2, 0, 3, 1])
    weighting, shared = make(spec)
    permuted, permuted_shared = make(spec)
    for values in stream(4, 30):
        _, weights = run(weighting, shared, values)
        _, permuted_weights = run(permuted, permuted_shared, values[order])
        assert torch.allclose(permuted_weights, weights[order], atol=1e-5)


@every_weighting
@pytest.mark.parametrize("num_before", [0, 1, 7])
def test_saved_and_restored_it_goes_on_to_the_bit(spec, num_before):
    weighting, shared = make(spec, seed=3)
    values = list(stream(4, num_before + 10))
    for value in values[:num_before]:
        run(weighting, shared, value)
    file = io.BytesIO()
    torch.save(weighting.state_dict(), file)
    restored, restored_shared = make(spec, seed=3)
    for value in stream(4, 3, seed=9):
        run(restored, restored_shared, value)
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(restored.weights, weighting.weights)
    for value in values[num_before:]:
        expected = run(weighting, shared, value)
        actual = run(restored, restored_shared, value)
        assert all(torch.equal(*pair) for pair in zip(actual, expected, strict=True))
    assert torch.equal(restored.mean_weights, weighting.mean_weights)


@every_weighting
def test_eval_uses_the_last_weights_and_changes_nothing(spec):
    weighting, shared = make(spec)
    for values in stream(4, 6):
        run(weighting, shared, values)
    before = {name: str(value) for name, value in weighting.state_dict().items()}
    weighting.eval()
    for values in stream(4, 3, seed=5):
        total = weighting(losses_of(values, shared))
        assert total.item() == pytest.approx((weighting.weights * values).sum().item(), rel=1e-5)
    assert {name: str(value) for name, value in weighting.state_dict().items()} == before
    assert weighting.train().training


@every_weighting
@pytest.mark.parametrize("extreme", [0.0, 1e-30, 1e30])
@pytest.mark.parametrize("when", [0, 1, 5])
@pytest.mark.parametrize("terms", ["one", "all"])
def test_extreme_losses_leave_finite_weights(spec, extreme, when, terms):
    weighting, shared = make(spec)
    for step, values in enumerate(stream(4, 12)):
        if step == when:
            values[1 if terms == "one" else slice(None)] = extreme
        total, weights = run(weighting, shared, values)
        assert_valid(weights)
        assert total.isfinite()


@every_weighting
def test_constant_zeros_leave_finite_weights(spec):
    weighting, shared = make(spec)
    for values in stream(4, 20):
        values[2] = 0
        assert_valid(run(weighting, shared, values)[1])


@every_weighting
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("when", [0, 4])
def test_a_loss_that_is_not_finite_shows_in_the_total_and_stays_out_of_the_statistics(spec, bad, when):
    weighting, shared = make(spec)
    for step, values in enumerate(stream(4, 10)):
        if step != when:
            total, weights = run(weighting, shared, values)
            assert total.isfinite()
            assert_valid(weights)
            continue
        values[0] = bad
        # The optimiser of a diverged step is skipped, as a gradient scaler does.
        total = weighting(losses_of(values, shared))
        assert_valid(weighting.weights)
        assert not total.isfinite()


@every_weighting
def test_a_negative_loss_is_accepted_or_refused_by_name(spec):
    weighting, shared = make(spec, names=("l1", "ssim", "gradient", "frequency"))
    values = list(stream(4, 6))
    run(weighting, shared, values[0])
    values[1][2] = -0.5
    if weighting.refuses_negative:
        with pytest.raises(UserError, match="loss 'gradient' is negative"):
            run(weighting, shared, values[1])
        return
    for value in values[1:]:
        assert_valid(run(weighting, shared, value)[1])


@every_weighting
def test_rounding_below_zero_is_no_negative_loss(spec):
    weighting, shared = make(spec)
    for values in stream(4, 5):
        values[0] = -1e-8
        assert_valid(run(weighting, shared, values)[1])
    weighting.check()


@every_weighting
def test_losses_may_come_by_name(spec):
    names = ("a", "b", "c", "d")
    by_name, shared = make(spec, names=names)
    by_place, _ = make(spec)
    by_place.attach([shared])
    for values in stream(4, 5):
        losses = losses_of(values, shared)
        # The order of the mapping is not that of the terms.
        shuffled = {name: losses[names.index(name)] for name in ("c", "a", "d", "b")}
        assert by_name(shuffled).item() == by_place(losses).item()
    with pytest.raises(UserError, match="were declared as a, b, c, d"):
        by_name({"a": losses[0]})


@every_weighting
def test_a_vector_of_the_wrong_length_is_refused(spec):
    weighting, _ = make(spec)
    with pytest.raises(UserError, match=r"a vector of 4, not of shape \(3,\)"):
        weighting(torch.ones(3))


@every_weighting
def test_statistics_stay_in_float32_under_autocast_and_in_a_half_precision_network(spec):
    weighting, shared = make(spec)
    weighting.to(torch.bfloat16)
    for values in stream(4, 5):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = losses_of(values.bfloat16(), shared).bfloat16()
            total = weighting(losses)
        assert total.dtype == torch.float32
    floating = [value for value in weighting.state_dict().values() if torch.is_tensor(value)]
    assert all(value.dtype == torch.float32 for value in floating if value.is_floating_point())
    reference, _ = make(spec)
    reference.attach([shared])
    for values in stream(4, 5):
        reference(losses_of(values.bfloat16(), shared).bfloat16().float())
    assert torch.equal(weighting.weights, reference.weights)


class NoHostRead(TorchDispatchMode):
    """Fails on whatever copies a number of a tensor to Python: item(), bool(tensor), float(tensor)."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "a step waits for the device"
        return func(*args, **(kwargs or {}))


@every_weighting
def test_a_step_never_waits_for_the_device(spec):
    weighting, shared = make(spec)
    for values in stream(4, 8):
        losses = losses_of(values, shared)
        if spec["name"] in WAITS_FOR_DEVICE:
            with pytest.raises(AssertionError, match="waits"), NoHostRead():
                weighting(losses)
            return
        with NoHostRead():
            weighting(losses).backward()


@every_weighting
def test_a_compiled_step_has_the_same_weights(spec):
    weighting, shared = make(spec)
    eager, eager_shared = make(spec)
    step = compiled(weighting, spec)
    for values in stream(4, 5):
        losses = losses_of(values, shared)
        total = step(losses)
        (gradient,) = torch.autograd.grad(total, losses)
        assert total.item() == pytest.approx(eager(losses_of(values, eager_shared)).item(), rel=1e-6)
        assert torch.allclose(weighting.weights, eager.weights, atol=1e-6)
        assert torch.allclose(gradient, eager.weights, atol=1e-6)


@every_weighting
def test_a_negative_loss_in_a_compiled_step_is_never_silent(spec):
    weighting, shared = make(spec, names=("l1", "ssim", "gradient", "frequency"))
    if not weighting.refuses_negative:
        return
    step = compiled(weighting, spec)
    for number, values in enumerate(stream(4, 4)):
        is_negative = number == 2
        if is_negative:
            weighting.check()
            values[2] = -0.5
        shared.grad = None
        total = step(losses_of(values, shared))
        total.backward()
        # Total and gradients are spoilt in this one step; the weights and what they follow from are not.
        assert total.isnan().item() == is_negative
        assert shared.grad.isnan().all().item() == is_negative
        assert_valid(weighting.weights)
    with pytest.raises(UserError, match="loss 'gradient' is negative"):
        weighting.check()


def test_the_suite_sees_every_weighting():
    assert {spec["name"] for spec in SPECS} == set(WEIGHTINGS)
