"""The classification curves of a training: one value an epoch, in nnU-Net's log and in a picture of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.class_metrics import multiclass_metrics, multilabel_metrics
from nnunet_multitask.labels import Case, LabelSidecar, Target
from nnunet_multitask.losses.classification import UNKNOWN

NAN = float("nan")
TRAIN_LOSS = "train_losses_classification"
VAL_LOSS = "val_losses_classification"
GRADIENT_COSINE = "gradient_cosine"
WEIGHTS = ("loss_weights/segmentation", "loss_weights/classification")


def curve_names(targets: Mapping[str, Target]) -> list[str]:
    """Return the name of every curve.

    These are the two losses, the cosine between both tasks' gradients, the weights of both losses, and for each
    target AUC and the recall of each class, and AUC and balanced accuracy of whole cases.
    """
    names = [TRAIN_LOSS, VAL_LOSS, GRADIENT_COSINE, *WEIGHTS]
    for target in targets.values():
        names += [auc_name(target), *(recall_name(target, class_name) for class_name in target.classes)]
        names += case_curve_names(target)
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


def case_curve_names(target: Target) -> tuple[str, str]:
    """Return the names of the curves of AUC and balanced accuracy of whole cases; NaN in epochs without them."""
    return f"{target.name}/case_auc", f"{target.name}/case_balanced_accuracy"


def check_numbers(probabilities: np.ndarray, where: str) -> None:
    """Refuse probabilities of which no score can be made.

    Raises:
        InputError: one of them is not a number, as after a step with too large a learning rate.
    """
    if np.isnan(probabilities).any():
        raise InputError(
            "diverged",
            where,
            "expected probabilities from the network, got NaN: the training has diverged",
            "lower learning_rate, learning_rate_factor or classification_weight, and start anew",
        )


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


def case_scores(
    targets: Mapping[str, Target], sidecar: LabelSidecar, predictions: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, float]:
    """Score whole cases: AUC and balanced accuracy of each target, by curve name; NaN where they are not defined.

    Args:
        targets: by name.
        sidecar: the true labels; cases without one do not count.
        predictions: by case and target the probabilities (outputs,), of the positive class for binary, else of each.
    """
    values = {}
    for name, target in targets.items():
        known = [c for c in sorted(predictions) if name in sidecar.cases.get(c, Case()).labels]
        scores = np.array([predictions[case_id][name] for case_id in known], dtype=float)  # (N, outputs)
        truth = np.array([target.encode(sidecar.cases[case_id].labels[name]) for case_id in known], dtype=int)
        result: dict[str, Any] = {"auc": None, "balanced_accuracy": None}
        if known and target.type == "multilabel":
            result = multilabel_metrics(truth, scores >= 0.5, scores, target.classes)
        elif known:
            if target.type == "binary":
                scores = np.hstack((1 - scores, scores))
            decided = scores[:, 1] >= 0.5 if target.type == "binary" else scores.argmax(axis=1)
            result = multiclass_metrics(truth[:, 0], decided, scores, target.classes)
        for curve, metric in zip(case_curve_names(target), ("auc", "balanced_accuracy"), strict=True):
            values[curve] = NAN if result[metric] is None else float(result[metric])
    return values


def draw_curves(path: Path, curves: Mapping[str, Sequence[float]], targets: Mapping[str, Target]) -> None:
    """Draw the losses, the cosine of the gradients, the weights where they move, and a panel for each target, as PNG.

    Args:
        path: file to write.
        curves: one value an epoch by curve name; NaN leaves a gap.
        targets: the targets, by name.
    """
    from matplotlib import style

    with style.context("default"):  # nnU-Net's own picture enlarges every font of the process for good
        _draw_curves(path, curves, targets)


def _draw_curves(path: Path, curves: Mapping[str, Sequence[float]], targets: Mapping[str, Target]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    moving = any(len({value for value in curves[name] if not np.isnan(value)}) > 1 for name in WEIGHTS)
    rows = 2 + len(targets) + int(moving)
    figure = Figure(figsize=(10, 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, 1))
    for name, label in ((TRAIN_LOSS, "training"), (VAL_LOSS, "validation")):
        panels[0].plot(curves[name], marker=".", label=label)
    panels[0].set(title="Classification loss", xlabel="epoch", ylabel="loss")
    panels[1].plot(curves[GRADIENT_COSINE], marker=".", color="black", label="cosine")
    panels[1].axhline(0, color="gray", linewidth=0.8)
    panels[1].set(title="Gradients of segmentation and classification", xlabel="epoch", ylabel="cosine")
    if moving:
        for name in WEIGHTS:
            panels[2].plot(curves[name], marker=".", label=name.rpartition("/")[2])
        panels[2].set(title="Weights of the losses", xlabel="epoch", ylabel="weight")
    for panel, target in zip(panels[-len(targets) :], targets.values(), strict=True):
        panel.plot(curves[auc_name(target)], marker=".", color="black", label="AUC")
        for class_name in target.classes:
            panel.plot(curves[recall_name(target, class_name)], marker=".", alpha=0.7, label=f"recall {class_name}")
        known_cases = False
        for name, label in zip(case_curve_names(target), ("AUC", "balanced accuracy"), strict=True):
            epochs = [epoch for epoch, value in enumerate(curves[name]) if not math.isnan(value)]
            if epochs:  # a few epochs have them: joined by a line across those that have not
                values = [curves[name][epoch] for epoch in epochs]
                known_cases = True
                panel.plot(epochs, values, marker="D", linestyle="--", label=f"{label} of whole cases")
        whole = " and whole cases" if known_cases else ""
        panel.set(title=f"{target.name}, validation patches{whole}", xlabel="epoch", ylim=(-0.02, 1.02))
    for panel in panels:
        panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=100)
