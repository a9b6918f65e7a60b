"""The optimiser of every training."""

from typing import Any

import torch

from trainables.startup import without_compiler

_load = without_compiler(torch.optim.Adam.load_state_dict)


class Adam(torch.optim.Adam):
    """torch's Adam to the bit, but it does not load torch's compiler; see `trainables.startup`."""

    add_param_group = without_compiler(torch.optim.Adam.add_param_group)
    state_dict = without_compiler(torch.optim.Adam.state_dict)
    step = torch.no_grad()(without_compiler(torch.optim.Adam.step))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores a state, whatever device it comes from: the moments lie in memory as their parameters do.

        The fused step goes through the memory of all of them side by side, and a GPU's networks have another layout.
        """
        _load(self, state_dict)
        for parameter, state in self.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.empty_like(parameter).copy_(state[name])

    zero_grad = without_compiler(torch.optim.Adam.zero_grad)
