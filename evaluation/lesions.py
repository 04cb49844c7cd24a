"""Lesion-wise detection: which lesions of the reference were found, and which predicted ones are false alarms.

A lesion is a 26-connected part of a mask (8-connected in a single slice). What counts as found is a rule with a name:

- ``any``: a reference lesion is found if the prediction has at least one of its voxels, and a predicted lesion is a
  false positive if it has no voxel of the reference. One predicted lesion may find several, and the other way round.
- ``dsc>=T`` and ``iou>=T``: lesions are matched one to one, only pairs with a DSC (IoU) of at least T, and as many
  pairs as possible. A reference lesion is found if it has a partner; a predicted one without is a false positive.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from nnunet_multitask.evaluation.components import Lesions, find_lesions, shared_voxels
from nnunet_multitask.evaluation.detection import Detection

ANY_OVERLAP = "any"
DEFINITIONS = {
    "lesion": "26-connected part of a mask",
    "true_positives": "reference lesions that were found, by the named rule",
    "misses": "reference lesions that were not found",
    "false_positives": "predicted lesions that found nothing, by the named rule",
    "sensitivity": "TP / (TP + misses)",
    "precision": "TP / (TP + FP)",
    "f1": "2 TP / (2 TP + FP + misses)",
    "false_positives_per_scan": "false positives of all scans divided by the number of scans",
}


@dataclass(frozen=True)
class LesionRule:
    """When a lesion counts as found.

    Args:
        measure: "any" overlap, or a threshold of "dsc" or "iou".
        threshold: above 0 and at most 1; None for "any".
    """

    measure: Literal["any", "dsc", "iou"] = "any"
    threshold: float | None = None

    @classmethod
    def parse(cls, text: str) -> LesionRule:
        """Return the rule of a name: "any", "dsc>=0.5", "iou>=0.1".

        Raises:
            ValueError: it is none of these, or the threshold is not above 0 and at most 1.
        """
        if text == ANY_OVERLAP:
            return cls()
        match = re.fullmatch(r"(dsc|iou)>=(\d*\.?\d+)", text)
        if match is None or not 0 < float(match[2]) <= 1:
            raise ValueError(f"expected any, dsc>=T or iou>=T with T above 0 and at most 1, got {text!r}")
        return cls(cast(Literal["dsc", "iou"], match[1]), float(match[2]))

    def __str__(self) -> str:
        return self.measure if self.threshold is None else f"{self.measure}>={self.threshold:g}"


@dataclass(frozen=True)
class LesionDetection(Detection):
    """Lesions of one scan, or of several together; the meaning of each number stands in `DEFINITIONS`.

    Args:
        reference_lesions, predicted_lesions: how many there are, found and invented ones among them.
    """

    reference_lesions: int = 0
    predicted_lesions: int = 0


def lesion_detection(
    reference: ArrayLike, prediction: ArrayLike, *, rule: LesionRule | str = ANY_OVERLAP
) -> LesionDetection:
    """Count the lesions that a predicted mask finds, misses and invents.

    Args:
        reference: (Z, Y, X) or (Y, X) bool.
        prediction: the same shape, bool.
        rule: when a lesion counts as found; its name, or a `LesionRule`.

    Returns:
        The counts. Empty masks have no lesions.

    Raises:
        ValueError: where the shapes differ, there are other than two or three axes, or the rule is unknown.
    """
    first, second = (np.asarray(array, dtype=bool) for array in (reference, prediction))
    if first.shape != second.shape or first.ndim not in (2, 3):
        raise ValueError(f"expected two masks of one shape, (Z, Y, X) or (Y, X), got {first.shape}, {second.shape}")
    rule = LesionRule.parse(rule) if isinstance(rule, str) else rule
    of_reference, of_prediction = (find_lesions(mask.reshape(-1, *mask.shape[-2:])) for mask in (first, second))
    return match_lesions(of_reference, of_prediction, rule)


def match_lesions(reference: Lesions, prediction: Lesions, rule: LesionRule) -> LesionDetection:
    """As `lesion_detection`, for lesions that `find_lesions` has found on one grid."""
    in_reference, in_prediction, shared = shared_voxels(reference, prediction)
    if rule.threshold is None:
        found, useful = len(np.unique(in_reference)), len(np.unique(in_prediction))
    else:
        sizes = reference.voxels[in_reference] + prediction.voxels[in_prediction]
        score = 2 * shared / sizes if rule.measure == "dsc" else shared / (sizes - shared)
        close = score >= rule.threshold
        found = useful = _count_matches(in_reference[close], in_prediction[close])
    return LesionDetection(
        reference_lesions=reference.count,
        predicted_lesions=prediction.count,
        true_positives=found,
        misses=reference.count - found,
        false_positives=prediction.count - useful,
    )


def _count_matches(first: NDArray[np.intp], second: NDArray[np.intp]) -> int:
    """Largest number of pairs (P,) of which no two share a partner."""
    rows, columns = np.unique(first, return_inverse=True)[1], np.unique(second, return_inverse=True)[1]
    if not len(rows):
        return 0
    graph = coo_array((np.ones(len(rows), dtype=bool), (rows, columns))).tocsr()
    return int(np.count_nonzero(maximum_bipartite_matching(graph) >= 0))
