"""Effect sizes of a paired comparison: how large a difference is, whatever its p."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

DEFINITIONS = {
    "cohens_dz": "mean of the paired differences over their sample standard deviation",
    "rank_biserial": "matched-pairs rank-biserial correlation: sum of the ranks of the positive differences minus that "
    "of the negative ones, over the sum of both; differences of zero are left out. -1 to 1",
    "sign": "positive where the values of the model are larger, which of a distance is worse",
}


def effect_sizes(differences: Sequence[float]) -> dict[str, Any]:
    """Return Cohen's dz and the matched-pairs rank-biserial correlation.

    Args:
        differences: (N,) finite, model minus baseline.

    Returns:
        {"cohens_dz", "rank_biserial"}, each {"value"}, null with a "reason": "n_below_2", "all_differences_zero",
        "all_differences_equal" (dz has no denominator).

    Source: J. Cohen, Statistical Power Analysis, 1988, section 2.3; D. S. Kerby, The simple difference formula,
    Comprehensive Psychology 3, 2014.
    """
    values = np.asarray(differences, dtype=np.float64)
    reason = "n_below_2" if len(values) < 2 else None if values.any() else "all_differences_zero"
    if reason is not None:
        return {name: {"value": None, "reason": reason} for name in ("cohens_dz", "rank_biserial")}
    dz: dict[str, Any] = {"value": None, "reason": "all_differences_equal"}
    if not np.all(values == values[0]):
        dz = {"value": float(values.mean() / values.std(ddof=1))}
    changed = values[values != 0]
    ranks = stats.rankdata(np.abs(changed))
    return {"cohens_dz": dz, "rank_biserial": {"value": float((ranks * np.sign(changed)).sum() / ranks.sum())}}
