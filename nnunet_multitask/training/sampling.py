"""How often each training case is drawn: weights of the cases, and the list of cases that nnU-Net draws from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Label, LabelSidecar, Target

PRECISION = 100  # entries of the list for each case, on average, at the most


def case_weights(how: str, sidecar: LabelSidecar, case_ids: Sequence[str], where: str | Path) -> list[float]:
    """Return how often each case is to be drawn, as a multiple of the others.

    Args:
        how: ``balanced`` or ``weights``, see ``ScheduleConfig.case_sampling``.
        sidecar: the labels and weights of the cases.
        case_ids: the training cases of the fold, and no other.
        where: file that an error names.

    Raises:
        InputErrors: cases that have no entry in the sidecar.
    """
    check_entries(sidecar, case_ids, where)
    if how == "weights":
        return [sidecar.cases[case_id].weight for case_id in case_ids]
    return balanced_weights(sidecar, case_ids)


def check_entries(sidecar: LabelSidecar, case_ids: Sequence[str], where: str | Path) -> None:
    """Refuse cases that have no entry in the sidecar.

    Raises:
        InputErrors: one for each such case.
    """
    missing = sorted(set(case_ids) - set(sidecar.cases))
    if missing:
        raise InputErrors(
            InputError(
                "case-without-entry",
                f"{where}: cases/{case_id}",
                "expected an entry for every case with an image, got none",
                'add its labels, or {"labels": {}} where they are not known',
            )
            for case_id in missing
        )


def balanced_weights(sidecar: LabelSidecar, case_ids: Sequence[str]) -> list[float]:
    """Return weights under which the classes that occur are drawn equally often.

    The weight of a case is the mean, over the targets whose label it has, of the inverse frequency of its class:
    n / (k * n_c) for n cases with a known label, k classes that occur and n_c cases of the case's own class. For a
    multilabel target it is the mean of that over its classes, each taken as a question with the answers yes and no.
    The known cases of a target weigh 1 on average. A case without any known label weighs 1.

    With one binary or multiclass target all classes are drawn equally often. Several targets, or the classes
    of a multilabel target, cannot all be balanced by drawing whole cases: the mean is a compromise.
    """
    found: list[list[float]] = [[] for _ in case_ids]
    for name, target in sidecar.targets.items():
        labels = [sidecar.cases[case_id].labels.get(name) for case_id in case_ids]
        known = [index for index, label in enumerate(labels) if label is not None]
        weights = _inverse_frequencies(target, [labels[index] or () for index in known])
        for index, weight in zip(known, weights, strict=True):
            found[index].append(weight)
    return [float(np.mean(weights)) if weights else 1.0 for weights in found]


def repeated(case_ids: Sequence[str], weights: Sequence[float]) -> list[str]:
    """Repeat cases so that a uniform draw from the list draws each in proportion to its weight.

    The list has at most ``PRECISION`` entries for each case on average. Where so many can hold the weights exactly (1
    to 3, or the classes of one target), it is the shortest that does. Else the entries are given out by the method of
    largest remainders: a case's count differs by less than one from its exact share of them, and one whose share is
    below one keeps one entry, so that every case is drawn sometimes.

    Args:
        case_ids: the cases; equal weights give this very list.
        weights: a positive weight for each.
    """
    if not case_ids:
        return []
    shares = np.asarray(weights, dtype=float)
    counts = _exact_counts(shares)
    if counts is None:
        counts = _nearest_counts(shares)
    return [case_id for case_id, count in zip(case_ids, counts.tolist(), strict=True) for _ in range(count)]


def _exact_counts(weights: np.ndarray) -> np.ndarray | None:
    """Return the smallest whole numbers in the proportion of the weights, or None where they are too large."""
    ratios = weights / weights.min()
    for factor in range(1, int(PRECISION * len(weights) / ratios.sum()) + 1):
        counts = np.rint(factor * ratios)
        if np.allclose(counts, factor * ratios, rtol=1e-9, atol=0):
            return counts.astype(int)
    return None


def _nearest_counts(weights: np.ndarray) -> np.ndarray:
    entries = PRECISION * len(weights)
    exact = weights / weights.sum() * entries
    counts = np.floor(exact).astype(int)
    left = np.argsort(-(exact - counts), kind="stable")[: entries - int(counts.sum())]
    counts[left] += 1
    return np.maximum(counts, 1)


def _inverse_frequencies(target: Target, labels: Sequence[Label]) -> list[float]:
    """Return n / (k * n_c) of each label, see ``balanced_weights``."""
    if target.type != "multilabel":
        return _of_answers(labels)
    columns = [_of_answers([name in label for label in labels]) for name in target.classes]
    return [float(np.mean(row)) for row in zip(*columns, strict=True)]


def _of_answers(answers: Sequence[object]) -> list[float]:
    kinds = list(dict.fromkeys(answers))
    count = {kind: sum(answer == kind for answer in answers) for kind in kinds}
    return [len(answers) / (len(kinds) * count[answer]) for answer in answers]
