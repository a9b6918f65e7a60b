"""CoV weighting of MONAI's losses on a MONAI network, each loss by its name."""

import torch
from monai.losses import SSIMLoss
from monai.networks.nets import UNet
from torch.nn.functional import l1_loss

from trainables.weighting import CoVWeighting

torch.manual_seed(0)
source = torch.rand(4, 1, 32, 32)
target = source.sqrt()

# [README]
network = UNet(spatial_dims=2, in_channels=1, out_channels=1, channels=(8, 16), strides=(2,))
ssim = SSIMLoss(spatial_dims=2)
weighting = CoVWeighting(num_terms=2, names=("l1", "ssim"))
optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)

for _step in range(30):
    prediction = network(source)
    total = weighting({"l1": l1_loss(prediction, target), "ssim": ssim(prediction, target)})
    optimiser.zero_grad()
    total.backward()
    optimiser.step()
# [/README]
