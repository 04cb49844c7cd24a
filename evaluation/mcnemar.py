"""McNemar's test: whether two models are right equally often over the same cases."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

DEFINITION = (
    "McNemar's exact test: two-sided binomial test (p = 1/2) of the cases in which only one of the two models is right"
)


def mcnemar_test(model_right: ArrayLike, baseline_right: ArrayLike) -> dict[str, Any]:
    """Test whether the accuracy of two models differs.

    Args:
        model_right, baseline_right: (N,) bool, of the same cases.

    Returns:
        {"method", "n", "both_right", "only_model_right", "only_baseline_right", "both_wrong", "p"}; p is null with a
        "reason": "no_cases", "no_discordant_case".

    Raises:
        ValueError: where the lengths differ.

    Source: Q. McNemar, Psychometrika 12, 1947; exact after W. J. Conover, Practical Nonparametric Statistics, 1971.
    """
    model, baseline = np.asarray(model_right, dtype=bool), np.asarray(baseline_right, dtype=bool)
    if model.shape != baseline.shape or model.ndim != 1:
        raise ValueError(f"expected one answer a case of each model, got {model.shape}, {baseline.shape}")
    counts = {
        "both_right": int((model & baseline).sum()),
        "only_model_right": int((model & ~baseline).sum()),
        "only_baseline_right": int((~model & baseline).sum()),
        "both_wrong": int((~model & ~baseline).sum()),
    }
    document: dict[str, Any] = {"method": "mcnemar_exact", "n": len(model), **counts, "p": None}
    discordant = counts["only_model_right"] + counts["only_baseline_right"]
    if not discordant:
        return document | {"reason": "no_discordant_case" if len(model) else "no_cases"}
    return document | {"p": float(stats.binomtest(counts["only_model_right"], discordant).pvalue)}
