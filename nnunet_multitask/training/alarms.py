"""Alarms about a classification that goes wrong, from its curves: it knows one class only, or learns by heart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnunet_multitask.labels import Target
from nnunet_multitask.training.curves import TRAIN_LOSS, VAL_LOSS, recall_name

EPOCHS = 5  # how long something must be so
MARGIN = 0.2  # rise of the validation loss over its minimum, as a share of it


@dataclass
class Alarms:
    """Tells each alarm once when it begins, and again only after it had ended.

    Attributes:
        raised: names of the alarms that are on.
    """

    raised: list[str] = field(default_factory=list)

    def consider(self, curves: Mapping[str, Sequence[float]], targets: Mapping[str, Target]) -> list[str]:
        """Return the messages of the alarms that begin with the last epoch of the curves."""
        seen = {f"collapse {name}": collapse(curves, target) for name, target in targets.items()}
        seen["overfitting"] = overfitting(curves[TRAIN_LOSS], curves[VAL_LOSS])
        on = {name: message for name, message in seen.items() if message is not None}
        new = [message for name, message in on.items() if name not in self.raised]
        self.raised = list(on)
        return new

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"raised": self.raised}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take the state of a checkpoint back; an empty one starts afresh."""
        self.raised = [str(name) for name in state.get("raised", [])]


def collapse(curves: Mapping[str, Sequence[float]], target: Target) -> str | None:
    """Tell whether every validation patch has been given the same class for ``EPOCHS`` epochs.

    Epochs count in which the patches that were drawn have at least two classes, so that the same answer for all is
    wrong for some: then one class has recall 1 and all others 0. For multilabel, whose classes are asked for one by
    one, recall tells only that no class is ever found; epochs count in which one is there.

    Args:
        curves: recall of each class by curve name, one value an epoch, NaN where the class was not drawn.
        target: the target.

    Returns:
        The message, or None.
    """
    recalls = np.array([curves[recall_name(target, name)] for name in target.classes], dtype=float)  # (classes, epochs)
    least = 1 if target.type == "multilabel" else 2
    known = recalls[:, (~np.isnan(recalls)).sum(axis=0) >= least][:, -EPOCHS:]
    if known.shape[1] < EPOCHS:
        return None
    remedy = "class_weights=balanced, case_sampling=balanced, a smaller head_rate_factor or learning_rate"
    if target.type == "multilabel":
        if not np.nansum(known):
            return f"{target.name}: no class was found in any validation patch for {EPOCHS} epochs -> try {remedy}"
        return None
    found = known == 1
    one_answer = (found.sum(axis=0) == 1) & (np.nansum(known, axis=0) == 1)
    answers = {int(index) for index in found.argmax(axis=0)}
    if not one_answer.all() or len(answers) > 1:
        return None
    return (
        f"{target.name}: every validation patch was called {target.classes[answers.pop()]} for {EPOCHS} epochs, "
        f"though other classes were among them -> try {remedy}"
    )


def overfitting(train: Sequence[float], val: Sequence[float]) -> str | None:
    """Tell whether the validation loss has risen while the training loss went on falling.

    Both are smoothed by the mean of ``EPOCHS`` epochs. For as many epochs the validation loss must have been more than
    ``MARGIN`` above its minimum, and the training loss below its value of then.

    Args:
        train: training loss, one value an epoch.
        val: validation loss, one value an epoch.

    Returns:
        The message, or None.
    """
    if len(val) < 2 * EPOCHS:
        return None
    smooth_train, smooth_val = (
        np.lib.stride_tricks.sliding_window_view(np.asarray(values, dtype=float), EPOCHS).mean(axis=1)
        for values in (train, val)
    )
    if np.isnan(smooth_val).all():
        return None
    best = int(np.nanargmin(smooth_val))
    rise = smooth_val[-EPOCHS:] / smooth_val[best] - 1
    if not ((rise > MARGIN) & (smooth_train[-EPOCHS:] < smooth_train[best])).all():
        return None
    return (
        f"the classification learns by heart: since epoch {best + EPOCHS - 1} its training loss has fallen from "
        f"{smooth_train[best]:.3f} to {smooth_train[-1]:.3f}, while its validation loss has risen by "
        f"{math.floor(100 * rise[-1])} % to {smooth_val[-1]:.3f} (means of {EPOCHS} epochs) -> use "
        "checkpoint_best_classification.pth, set early_stopping_patience, or raise dropout, weight_decay or "
        "label_smoothing"
    )
