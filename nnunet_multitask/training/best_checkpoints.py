"""Which epoch classifies best, and which is best at both tasks; nnU-Net's ``checkpoint_best`` knows masks only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nnunet_multitask.labels import Target
from nnunet_multitask.training.curves import auc_name, case_curve_names

CLASSIFICATION = "checkpoint_best_classification.pth"
JOINT = "checkpoint_best_joint.pth"
MOMENTUM = 0.9  # that of nnU-Net's moving average of the pseudo Dice
CHANCE = 0.5  # AUC of guessing, where the average starts: from the first value, an early lucky one would stay the best

CRITERIA = (
    f"{CLASSIFICATION}: highest mean AUC over the targets; {JOINT}: highest (pseudo Dice + mean AUC) / 2. The pseudo "
    f"Dice is nnU-Net's moving average. The AUC is that of whole validation cases where such are classified in "
    f"training, and only in epochs that do; before the first such epoch, and without any, it is the moving average "
    f"({MOMENTUM} of the value before, {1 - MOMENTUM:.1f} of the new one, from {CHANCE} on) of the AUC of validation "
    "patches"
)


@dataclass
class BestCheckpoints:
    """Keeps the best scores so far.

    AUCs of whole cases and of patches are different figures: when the first one of cases comes, the search begins anew.

    Attributes:
        of_cases: the scores are of whole cases.
        best: score and epoch (counted from 0) by file name.
    """

    of_cases: bool = False
    best: dict[str, tuple[float, int]] = field(default_factory=dict)

    def consider(self, epoch: int, classification: float, segmentation: float, of_cases: bool) -> list[str]:
        """Take the scores of an epoch and return the names of the files that it is the best one for.

        Args:
            epoch: counted from 0.
            classification: mean AUC over the targets, NaN where the epoch has none.
            segmentation: nnU-Net's moving average of the pseudo Dice.
            of_cases: ``classification`` is of whole cases.
        """
        if of_cases and not self.of_cases:
            self.of_cases, self.best = True, {}
        if of_cases != self.of_cases:
            return []
        scores = {CLASSIFICATION: classification, JOINT: (segmentation + classification) / 2}
        found = [name for name, score in scores.items() if score > self.best.get(name, (-math.inf, -1))[0]]
        self.best.update({name: (float(scores[name]), epoch) for name in found})
        return found

    def described(self, name: str) -> str:
        """Say what the file holds."""
        what = "mean AUC" if name == CLASSIFICATION else "mean of pseudo Dice and AUC"
        source = "whole validation cases" if self.of_cases else "validation patches, moving average"
        return f"new best {what}: {self.best[name][0]:.4f} ({source}), for {name}"

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"of_cases": self.of_cases, "best": self.best}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state of a checkpoint back; an empty one starts afresh."""
        self.of_cases = bool(state.get("of_cases", False))
        self.best = {name: (float(score), int(epoch)) for name, (score, epoch) in state.get("best", {}).items()}


def classification_score(curves: Mapping[str, Sequence[float]], targets: Iterable[Target]) -> tuple[float, bool]:
    """Return the score of the last epoch, and whether it is of whole cases.

    Args:
        curves: one value an epoch by curve name.
        targets: the targets; one without any value counts nowhere.

    Returns:
        Mean AUC over the targets, of whole cases where the last epoch has it, else the moving average of patches; NaN
        where there is none.
    """
    targets = list(targets)
    cases = [curves[case_curve_names(target)[0]][-1] for target in targets]
    if not all(map(math.isnan, cases)):
        return _mean(cases), True
    return _mean([moving_average(curves[auc_name(target)]) for target in targets]), False


def moving_average(values: Iterable[float]) -> float:
    """Return the moving average of AUCs at the last one; NaN is passed over, and returned where all are."""
    known = [value for value in values if not math.isnan(value)]
    average = CHANCE
    for value in known:
        average = MOMENTUM * average + (1 - MOMENTUM) * value
    return average if known else math.nan


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
