"""Linear probes: whether a class can be read off features by a straight line, and how often that is chance."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nnunet_multitask.evaluation.intervals import RESAMPLES, Interval, bootstrap_intervals, units_of
from nnunet_multitask.evaluation.resampling import binary_statistics, multiclass_statistics

INVERSE_REGULARIZATION = 0.1  # fixed: chosen by looking, it would have to be chosen within each training part
PERMUTATIONS = 100
SEED = 20250101  # fixed: the same data give the same control
SCORES = ("balanced_accuracy", "auc")

Array = NDArray[Any]


@dataclass(frozen=True)
class Part:
    """The cases of one fold, seen by that fold's network.

    Attributes:
        features: (N, F) of the training cases.
        labels: (N,) 0 to C - 1.
        groups: (N,) patient of each.
        test_features, test_labels, test_groups: the same of the validation cases, which neither network nor probe
            was fitted on.
    """

    features: Array
    labels: Array
    groups: Sequence[str]
    test_features: Array
    test_labels: Array
    test_groups: Sequence[str]


def probe(parts: Sequence[Part], num_classes: int, permutations: int = PERMUTATIONS) -> dict[str, Any]:
    """Fit a logistic regression in each fold on its training cases, and score it on all validation cases together.

    Features are standardised by the training cases and classes are weighted by their frequency there. As a control
    the same is done with labels permuted among the training patients: what such a probe reaches is what can be
    reached without any relation of features and classes.

    Args:
        parts: the folds; no patient is in training and test of one, and every class is in each training part.
        num_classes: C, at least 2. Of two classes the second is the positive one; of more, AUC is the mean of each
            against the rest.
        permutations: of the labels; 0 for no control.

    Returns:
        "n", and for each of ``SCORES`` {"value", "interval", "permuted": {"mean", "high", "p"}}; "high" is the 95th
        percentile of the control, p the share of permutations that reach the value, (1 + k) / (1 + permutations)
        (Phipson and Smyth 2010). A score is None where the validation cases lack a class.
    """
    truth = np.concatenate([part.test_labels for part in parts])
    patients = [group for part in parts for group in part.test_groups]
    units = units_of(patients)
    probabilities = np.concatenate([_predicted(part, part.labels, num_classes) for part in parts])
    values = scores(truth, probabilities)
    intervals = _intervals(truth, probabilities, units) if values["auc"] is not None else {}
    undefined = Interval(None, None, f"bca_{RESAMPLES}", reason="class_without_case")
    random = np.random.default_rng(SEED)
    controls = [
        scores(
            truth,
            np.concatenate(
                [_predicted(part, permuted(part.labels, part.groups, random), num_classes) for part in parts]
            ),
        )
        for _ in range(permutations)
    ]
    return {
        "n": len(truth),
        **{
            name: {
                "value": values[name],
                "interval": intervals.get(name, undefined).to_json(),
                "permuted": _control(values[name], [control[name] for control in controls]),
            }
            for name in SCORES
        },
    }


def scores(truth: Array, probabilities: Array) -> dict[str, float | None]:
    """Return balanced accuracy of the likeliest class and AUC; None where a class has no case."""
    num_classes = probabilities.shape[1]
    if len(np.unique(truth)) < num_classes:
        return dict.fromkeys(SCORES)
    recalls = [(probabilities[truth == k].argmax(axis=1) == k).mean() for k in range(num_classes)]
    of_classes = [metrics.roc_auc_score(truth == k, probabilities[:, k]) for k in range(1, num_classes)]
    if num_classes > 2:
        of_classes.append(metrics.roc_auc_score(truth == 0, probabilities[:, 0]))
    return {"balanced_accuracy": float(np.mean(recalls)), "auc": float(np.mean(of_classes))}


def permuted(labels: Array, groups: Sequence[str], random: np.random.Generator) -> Array:
    """Return labels permuted among patients; among cases where a patient has cases of several classes."""
    of_group = {group: set(labels[np.array([g == group for g in groups])].tolist()) for group in dict.fromkeys(groups)}
    if any(len(found) > 1 for found in of_group.values()) or len(of_group) == len(groups):
        return np.asarray(random.permutation(labels))
    shuffled = random.permutation([next(iter(found)) for found in of_group.values()])
    new = dict(zip(of_group, shuffled, strict=True))
    return np.array([new[group] for group in groups])


def _predicted(part: Part, labels: Array, num_classes: int) -> Array:
    """Return the probabilities (M, C) of the test cases after fitting on ``labels``."""
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=INVERSE_REGULARIZATION, class_weight="balanced", max_iter=500)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the order of the cases is settled long before
        model.fit(part.features, labels)
    found = np.zeros((len(part.test_labels), num_classes))
    found[:, model.classes_] = model.predict_proba(part.test_features)
    return found


def _intervals(truth: Array, probabilities: Array, units: Array) -> dict[str, Interval]:
    decided = probabilities.argmax(axis=1)
    statistics: Callable[..., Any] = (
        binary_statistics(truth == 1, decided == 1, probabilities[:, 1])
        if probabilities.shape[1] == 2
        else multiclass_statistics(truth, decided, probabilities)
    )

    def wanted(weights: Array) -> dict[str, Array]:
        found = statistics(weights)
        return {name: found[name] for name in SCORES}

    return bootstrap_intervals(wanted, units)


def _control(value: float | None, controls: Sequence[float | None]) -> dict[str, float] | None:
    known = [control for control in controls if control is not None]
    if value is None or not known:
        return None
    reached = sum(control >= value for control in known)
    return {
        "mean": float(np.mean(known)),
        "high": float(np.quantile(known, 0.95)),
        "p": (1 + reached) / (1 + len(known)),
    }


def tasks_of(targets: Mapping[str, Any]) -> dict[str, tuple[str, int | None, int]]:
    """Return what is probed: by name the target, the class of it (None: all) and the number of classes.

    A multilabel target is probed one class at a time, as ``target/class``.

    Args:
        targets: ``labels.Target`` by name.
    """
    tasks: dict[str, tuple[str, int | None, int]] = {}
    for name, target in targets.items():
        if target.type == "multilabel":
            tasks |= {f"{name}/{title}": (name, index, 2) for index, title in enumerate(target.classes)}
        else:
            tasks[name] = (name, None, len(target.classes))
    return tasks
