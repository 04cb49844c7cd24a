"""The checkpoint of the lowest validation loss, for systems that predict with it."""

from __future__ import annotations

from nnunet_multitask.training.settings import TrainingSettingsMixin

BEST_LOSS = "checkpoint_best_loss.pth"


class BestLossMixin(TrainingSettingsMixin):
    """Writes ``checkpoint_best_loss`` whenever the loss by which early stopping judges is lower than ever before."""

    def checkpoints_due(self) -> list[str]:
        """Return also this checkpoint, where the epoch that ends is the best one."""
        due = super().checkpoints_due()
        return [*due, BEST_LOSS] if self.stopping.best_epoch == self.current_epoch else due
