"""Ways in which tiles become a case, compared on the same cases: which is best, and is it better than chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.evaluation.intervals import CONFIDENCE, MIN_UNITS, RESAMPLES, resampled
from nnunet_multitask.evaluation.resampling import (
    Sampled,
    Weights,
    binary_statistics,
    multiclass_statistics,
    multilabel_statistics,
)
from nnunet_multitask.targets import Target

Probabilities = NDArray[np.float64]

_ROUNDING = 1e-9  # the same AUC from two aggregations can differ in the last bit

DEFINITIONS = {
    "auc": "of all cases together, each predicted by the network that was not trained on it; of several classes the "
    "mean over them, one against the rest",
    "log_loss": "mean of -ln of the probability of what is true, before any calibration; a fitted aggregation has "
    "learned how frequent a class is, the others have not",
    "difference": "AUC minus that of the model's own aggregation; interval: percentiles of bootstrap samples of "
    "patients, 95 % for all aggregations of the target together (Bonferroni)",
    "recommended": "the aggregation with the highest AUC where that is above 0.5 and its interval of the difference "
    "lies above 0, else the model's own",
}


def compare_aggregations(
    target: Target,
    truth: NDArray[np.bool_],
    probabilities: Mapping[str, Probabilities],
    own: str,
    units: NDArray[np.integer],
) -> dict[str, Any]:
    """Score each aggregation on the same cases, and recommend one.

    Args:
        target: type and classes.
        truth: (N, C) bool, whether the case has the class.
        probabilities: (N, C) by the name of the aggregation.
        own: the name of the model's own, which the others are compared with.
        units: (N,) number of the patient of each case, 0 to U - 1.

    Returns:
        "aggregations": by name "auc", "log_loss" and of the others "difference": value, "low" and "high" (null with
        fewer than 10 patients, or where a class has no case); "own"; "recommended".
    """
    scores = {name: _statistics(target, truth, values) for name, values in probabilities.items()}
    whole = {name: function(np.ones((1, len(truth)))) for name, function in scores.items()}
    defined = np.isfinite(whole[own]["auc"][0])

    def differences(weights: Weights) -> Sampled:
        reference = scores[own](weights)["auc"]
        return {name: function(weights)["auc"] - reference for name, function in scores.items() if name != own}

    enough = defined and int(units.max()) + 1 >= MIN_UNITS
    drawn = resampled(differences, units, RESAMPLES) if enough else {}
    tail = (1 - CONFIDENCE) / 2 / max(len(scores) - 1, 1)
    entries: dict[str, Any] = {}
    for name, found in whole.items():
        entries[name] = {
            "auc": float(found["auc"][0]) if defined else None,
            "log_loss": float(found["log_loss"][0]),
        }
        if name != own:
            value = float(found["auc"][0] - whole[own]["auc"][0]) if defined else None
            replicates = drawn.get(name, np.empty(0))
            replicates = replicates[np.isfinite(replicates)]
            low, high = np.quantile(replicates, (tail, 1 - tail)).tolist() if len(replicates) else (None, None)
            entries[name]["difference"] = {"value": value, "low": low, "high": high}
    best = max(entries, key=lambda name: (entries[name]["auc"] or 0, name == own))
    low = entries[best].get("difference", {}).get("low")
    is_better = low is not None and low > _ROUNDING and entries[best]["auc"] > 0.5
    return {"own": own, "recommended": best if is_better else own, "aggregations": entries}


def _statistics(target: Target, truth: NDArray[np.bool_], probabilities: Probabilities) -> Callable[[Weights], Sampled]:
    if target.type == "multilabel":
        return multilabel_statistics(truth, probabilities >= 0.5, probabilities)
    if len(target.classes) == 2:
        return binary_statistics(truth[:, 1], probabilities[:, 1] >= 0.5, probabilities[:, 1])
    return multiclass_statistics(truth.argmax(axis=1), probabilities.argmax(axis=1), probabilities)
