"""The contract of every weighting: a vector of losses in, one scalar to call `backward()` on out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, distributed, nn

from trainables.errors import UserError
from trainables.weighting.names import TermNames, match_names

ROUNDING = 1e-6
"""A loss this little below 0 is rounding (1 - SSIM of equal images) and counts as 0."""


class LossWeighting(nn.Module, ABC):
    """Weighs K losses into one.

    In training mode each call sees the losses, chooses the weights of this step and may learn from what it
    saw; in eval mode it uses the last weights and changes nothing. The weights sum to 1, and the gradient of
    the result with respect to the losses *is* the weights: the learning rate means the same under every
    weighting. All state is in `state_dict()`. A step never waits for the device: nothing of a tensor is read
    on the host.

    A subclass writes `next_weights`. Statistics are kept in float32, or float64 after `.double()`, whatever
    autocast says.

    Args:
        num_terms: K.
        names: of the terms, in their order, for messages and for losses given as a mapping. Without them the first
            mapping's own order counts; it is part of the state. A state of other names, or of another order than
            these, is refused by `load_state_dict` before any of it is loaded.
        all_reduce: average the detached losses over the ranks of the default process group before they are
            seen, so that the weights of data-parallel ranks stay identical.

    Raises:
        UserError: the number of terms is not positive or not that of the names, or a name is given twice.
    """

    weights: Tensor
    """(K,) weights used last, detached; they sum to 1. Reading their values makes the host wait for the
    device."""
    mean_weights: Tensor
    """(K,) weights averaged over all training steps."""
    num_steps: Tensor
    """() training steps so far."""
    num_negative: Tensor
    """(K,) how often each loss was negative where that is refused."""

    name: ClassVar[str]
    """What it is called in YAML, if it is built in."""
    refuses_negative = False
    """Whether a negative loss has no meaning for this weighting."""
    takes_gradients = False
    """Whether a step takes the gradients of single losses beside that of their sum."""

    def __init__(self, num_terms: int, *, names: Sequence[str] | None = None, all_reduce: bool = False) -> None:
        super().__init__()
        if num_terms < 1 or (names is not None and len(names) != num_terms):
            raise UserError(f"a weighting needs one or more terms and a name for each, not {num_terms} and {names}")
        self.num_terms = num_terms
        self.term_names = TermNames(num_terms, names)
        self.register_load_state_dict_pre_hook(match_names)
        self.all_reduce = all_reduce
        equal = torch.full((num_terms,), 1.0 / num_terms)
        self.register_buffer("weights", equal)
        self.register_buffer("mean_weights", equal.clone())
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("num_negative", torch.zeros(num_terms, dtype=torch.int64))

    @property
    def names(self) -> tuple[str, ...] | None:
        """Of the terms, in their order; None before they are known."""
        return self.term_names.known

    @abstractmethod
    def next_weights(self, losses: Tensor) -> Tensor:
        """The weights (K,) of this training step; updates the statistics.

        Called without gradients, once a training step, with the losses (K,) as `observed` gives them. The result
        is at least 0 and sums to 1. A loss that is not finite must not enter the statistics.
        """

    def combine(self, weights: Tensor, losses: Tensor, observed: Tensor) -> Tensor:
        """The scalar of a training step, of the weights (K,), the losses (K,) with their graph, and detached."""
        return (weights * losses).sum()

    def attach(self, shared: nn.Module | Iterable[nn.Parameter]) -> None:
        """Hands over the trained network, or the parameters all terms share, once before training.

        Every training loop may call it with its network, without knowing the weighting; only a weighting that
        looks at gradients (GradNorm) does something with it. What is handed over is not part of the state.
        """

    def forward(self, losses: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Weighs the losses.

        Args:
            losses: (K,), or K scalars by name.

        Returns:
            The scalar sum of weights times losses.

        Raises:
            UserError: the losses are not K or not those of before; or one is negative and must not be. On a
                GPU and in a compiled step, which must not look, the scalar and its gradients are NaN in
                place of that, the statistics and weights stay as they are, and `check` says which loss it was.
        """
        values = self._vector(losses)
        if not self.training:
            return (self.weights.clone() * values).sum()
        observed = self._averaged(values.detach()) if self.all_reduce else values.detach()
        spoilt = None
        if self.refuses_negative:
            observed, spoilt = self._without_negative(observed)
        with torch.no_grad():
            weights = self.next_weights(observed)
            self.term_names.by_place = self.names is None
            self.num_steps += 1
            self.mean_weights += (weights - self.mean_weights) / self.num_steps
            self.weights.copy_(weights)
            if torch.compiler.is_compiling():
                weights = _kept(weights)
        total = self.combine(weights, values, observed)
        return total if spoilt is None else torch.where(spoilt, torch.nan, 1.0) * total

    def check(self) -> None:
        """Raises UserError if a negative loss was seen that must not be. The host waits for the device."""
        self._refuse((self.num_negative > 0).tolist())

    def extra_repr(self) -> str:
        return f"num_terms={self.num_terms}"

    def _without_negative(self, losses: Tensor) -> tuple[Tensor, Tensor | None]:
        """The detached losses (K,) as statistics see them, NaN where refused, and whether (), if nobody could look."""
        negative = losses < -ROUNDING
        if losses.device.type == "cpu" and not torch.compiler.is_compiling():
            self._refuse(negative.numpy())
            return losses.clamp(min=0), None
        self.num_negative += negative
        return torch.where(negative, torch.nan, losses.clamp(min=0)), negative.any()

    @staticmethod
    def _averaged(values: Tensor) -> Tensor:
        """Mean over the ranks of the default process group, if there is one."""
        if distributed.is_available() and distributed.is_initialized():
            values = values / distributed.get_world_size()
            distributed.all_reduce(values)
        return values

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # A network turned to half precision must not take the statistics with it.
        def at_least_float32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if moved.dtype in (torch.float16, torch.bfloat16) else moved

        return super()._apply(at_least_float32, recurse)

    def _vector(self, losses: Tensor | Mapping[str, Tensor]) -> Tensor:
        if isinstance(losses, Mapping):
            if self.all_reduce and self.names is None:
                raise UserError("all_reduce needs names=[...] for losses by name, in the same order on every rank")
            losses = self.term_names.vector(losses)
        if losses.shape != (self.num_terms,):
            raise UserError(f"losses must be a vector of {self.num_terms}, not of shape {tuple(losses.shape)}")
        return losses.to(self.weights.dtype)

    def _refuse(self, negative: Iterable[bool]) -> None:
        for term, is_negative in enumerate(negative):
            if is_negative:
                name = repr(self.names[term]) if self.names else f"number {term}"
                raise UserError(
                    f"{type(self).__name__}: loss {name} is negative, which has no meaning "
                    "here: add a constant that makes it 0 or more, or choose another weighting"
                )


@torch.library.custom_op("trainables::kept", mutates_args=())
def _kept(weights: Tensor) -> Tensor:
    """A copy that a compiled step keeps for its backward pass.

    The compiler would rather compute the weights again there, from buffers that have moved on to the next step.
    It doesn't do so through an operator it doesn't know.
    """
    return weights.clone()


@_kept.register_fake
def _(weights: Tensor) -> Tensor:
    return torch.empty_like(weights)
