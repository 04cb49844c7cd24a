"""Early stopping: a training ends when the validation loss has not become better for a while."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunet_multitask.wording import counted


class StoppedEarly(Exception):
    """Leaves nnU-Net's loop over the epochs, whose length is fixed when it begins."""


@dataclass
class EarlyStopping:
    """Counts the epochs since the validation loss was best.

    Attributes:
        patience: epochs without a better loss after which to stop; 0 never stops.
        best: lowest loss so far, infinite before the first one that is a number.
        best_epoch: its epoch, counted from 0; -1 where there is none.
        waited: epochs since.
    """

    patience: int
    best: float = math.inf
    best_epoch: int = -1
    waited: int = 0

    @property
    def reached(self) -> bool:
        """Whether to stop. A larger patience lets a stopped training go on."""
        return 0 < self.patience <= self.waited

    def consider(self, epoch: int, loss: float) -> None:
        """Take the validation loss of an epoch; one that is not a number is not better."""
        if loss < self.best:
            self.best, self.best_epoch, self.waited = float(loss), epoch, 0
        else:
            self.waited += 1

    def reason(self) -> str:
        """Say why the training stops."""
        best = f"below {self.best:.4f} of epoch {self.best_epoch}" if self.best_epoch >= 0 else "a number"
        return (
            f"early stopping: the validation loss has not been {best} for {counted(self.waited, 'epoch')} "
            f"(early_stopping_patience {self.patience})"
        )

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps; the patience is a setting and may change."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state of a checkpoint back; an empty one starts afresh."""
        self.best = float(state.get("best", math.inf))
        self.best_epoch = int(state.get("best_epoch", -1))
        self.waited = int(state.get("waited", 0))
