"""CoV weighting in a plain PyTorch loop."""

import torch
from torch import nn
from torch.nn.functional import l1_loss, mse_loss

from trainables.weighting import CoVWeighting

torch.manual_seed(0)
network = nn.Conv2d(1, 1, 3, padding=1)
source = torch.rand(8, 1, 32, 32)
target = 1 - source

# [README]
weighting = CoVWeighting(num_terms=2)
optimiser = torch.optim.Adam([*network.parameters(), *weighting.parameters()], lr=1e-2)

for _step in range(100):
    prediction = network(source)
    losses = torch.stack([l1_loss(prediction, target), mse_loss(prediction, target)])
    total = weighting(losses)
    optimiser.zero_grad()
    total.backward()
    optimiser.step()

checkpoint = {"network": network.state_dict(), "weighting": weighting.state_dict()}
print(weighting.weights.tolist())
# [/README]
