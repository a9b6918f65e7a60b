"""CoV weighting as a submodule in Lightning: saved in its checkpoints, moved with the module, off in validation."""

from pathlib import Path

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainables.losses import LossTerms
from trainables.weighting import CoVWeighting


# [README]
class Synthesis(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Conv2d(1, 1, 3, padding=1)
        self.losses = LossTerms(["l1", "ssim", "gradient", "frequency"])
        self.weighting = CoVWeighting(num_terms=4, names=self.losses.names, all_reduce=True)

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        source, target = batch
        return self.weighting(self.losses(self.network(source), target))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


# [/README]


def main(folder: str, max_epochs: int) -> Synthesis:
    """Trains in `folder`, going on from the checkpoint there if there is one."""
    torch.manual_seed(0)
    source = torch.rand(16, 1, 24, 24)
    module = Synthesis()
    trainer = lightning.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    saved = Path(folder) / "last.ckpt"
    data = DataLoader(TensorDataset(source, 1 - source), batch_size=4)
    trainer.fit(module, data, ckpt_path=str(saved) if saved.exists() else None)
    trainer.save_checkpoint(saved)
    return module
