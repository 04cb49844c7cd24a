"""The classification curves of a training: one value an epoch, in nnU-Net's log and in a picture of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from nnunet_multitask.labels import Target
from nnunet_multitask.losses.classification import UNKNOWN

NAN = float("nan")
TRAIN_LOSS = "train_losses_classification"
VAL_LOSS = "val_losses_classification"
GRADIENT_COSINE = "gradient_cosine"
WEIGHTS = ("loss_weights/segmentation", "loss_weights/classification")


def curve_names(targets: Mapping[str, Target]) -> list[str]:
    """Return the name of every curve.

    These are the two losses, the cosine between both tasks' gradients, the weights of both losses, and for each
    target AUC and the recall of each class.
    """
    names = [TRAIN_LOSS, VAL_LOSS, GRADIENT_COSINE, *WEIGHTS]
    for target in targets.values():
        names += [auc_name(target), *(recall_name(target, class_name) for class_name in target.classes)]
    return names


def auc_name(target: Target) -> str:
    """Return the name of the target's AUC curve."""
    return f"{target.name}/auc"


def recall_name(target: Target, class_name: str) -> str:
    """Return the name of the recall curve of a class."""
    return f"{target.name}/recall/{class_name}"


def mean_of_known(values: Sequence[float]) -> float:
    """Return the mean of the values that are no NaN; NaN where there is none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else NAN


def patch_scores(target: Target, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Score the patches of one validation epoch.

    Args:
        target: the target.
        probabilities: (N, outputs): of the positive class for binary, of each class otherwise.
        labels: encoded labels (N, K) with ``UNKNOWN`` where there is none.

    Returns:
        Values by curve name: recall of each class, and AUC (multiclass: mean of one class against the rest). NaN
        where no patch with that class, or none without it, was drawn.
    """
    known = labels[:, 0] != UNKNOWN
    probabilities, labels = probabilities[known], labels[known]
    classes = len(target.classes)
    if target.type == "multiclass":
        scores, truth = probabilities, labels == np.arange(classes)
        decided = probabilities.argmax(axis=1)[:, None] == np.arange(classes)
    elif target.type == "binary":
        scores, truth = np.hstack((1 - probabilities, probabilities)), np.hstack((labels == 0, labels == 1))
        decided = scores >= 0.5
    else:
        scores, truth, decided = probabilities, labels == 1, probabilities >= 0.5
    values = {}
    aucs = []
    for index, class_name in enumerate(target.classes):
        positives = truth[:, index]
        values[recall_name(target, class_name)] = float(decided[positives, index].mean()) if positives.any() else NAN
        if positives.any() and not positives.all():
            aucs.append(float(roc_auc_score(positives, scores[:, index])))
    values[auc_name(target)] = float(np.mean(aucs)) if aucs else NAN
    return values


def draw_curves(path: Path, curves: Mapping[str, Sequence[float]], targets: Mapping[str, Target]) -> None:
    """Draw the losses, the balance of the tasks, and one panel for each target, as a PNG.

    Args:
        path: file to write.
        curves: one value an epoch by curve name; NaN leaves a gap.
        targets: the targets, by name.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2 * (2 + len(targets))), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 + len(targets), 1, squeeze=False)[:, 0]
    for name, label in ((TRAIN_LOSS, "training"), (VAL_LOSS, "validation")):
        panels[0].plot(curves[name], marker=".", label=label)
    panels[0].set(title="Classification loss", xlabel="epoch", ylabel="loss")
    panels[1].plot(curves[GRADIENT_COSINE], marker=".", color="black", label="cosine of the gradients")
    panels[1].axhline(0, color="gray", linewidth=0.8)
    for name in WEIGHTS:
        panels[1].plot(curves[name], marker=".", alpha=0.7, label=f"weight of the {name.rpartition('/')[2]}")
    panels[1].set(title="Balance of segmentation and classification", xlabel="epoch")
    for panel, target in zip(panels[2:], targets.values(), strict=True):
        panel.plot(curves[auc_name(target)], marker=".", color="black", label="AUC")
        for class_name in target.classes:
            panel.plot(curves[recall_name(target, class_name)], marker=".", alpha=0.7, label=f"recall {class_name}")
        panel.set(title=f"{target.name}, validation patches", xlabel="epoch", ylim=(-0.02, 1.02))
    for panel in panels:
        panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=100)
