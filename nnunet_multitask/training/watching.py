"""The trainer's eye on the classification: the checkpoints of its best epochs, and alarms in the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunet_multitask.labels import Target
from nnunet_multitask.training.alarms import Alarms
from nnunet_multitask.training.best_checkpoints import CRITERIA, BestCheckpoints, classification_score
from nnunet_multitask.training.curves import curve_names
from nnunet_multitask.training.settings import TrainingSettingsMixin


class WatchingMixin(TrainingSettingsMixin):
    """Writes ``checkpoint_best_classification`` and ``checkpoint_best_joint``, and warns of what the curves show."""

    targets: dict[str, Target]
    best: BestCheckpoints
    alarms: Alarms

    def initialize(self) -> None:
        """Build what nnU-Net builds; nothing has been seen yet."""
        self.best = BestCheckpoints()
        self.alarms = Alarms()
        super().initialize()

    def on_train_start(self) -> None:
        """Say in the log by what the best epochs are chosen."""
        super().on_train_start()
        self.print_to_log_file(CRITERIA)

    def on_epoch_end(self) -> None:
        """Warn where the curves give reason to."""
        for message in self.alarms.consider(self._curves(), self.targets):
            self.print_to_log_file(f"WARN {message}")
        super().on_epoch_end()

    def checkpoints_due(self) -> list[str]:
        """Return the files for which the epoch that ends is the best one so far."""
        score, of_cases = classification_score(self._curves(), self.targets.values())
        dice = float(self.logger.get_value("ema_fg_dice", step=-1))
        found = self.best.consider(self.current_epoch, score, dice, of_cases)
        for name in found:
            self.print_to_log_file(self.best.described(name))
        return [*super().checkpoints_due(), *found]

    def extra_state(self) -> dict[str, Any]:
        """Return the state, with the best scores and the alarms that are on."""
        return {**super().extra_state(), "best": self.best.state(), "alarms": self.alarms.state()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take the state back, with the best scores and the alarms that are on."""
        super().load_extra_state(state)
        self.best.load(state.get("best", {}))
        self.alarms.load(state.get("alarms", {}))

    def _curves(self) -> dict[str, list[float]]:
        return {name: self.logger.get_value(name, step=None) for name in curve_names(self.targets)}
