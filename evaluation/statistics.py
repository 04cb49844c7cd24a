"""Paired tests: whether one model's scores differ from another's over the same cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

DEFINITIONS = {
    "paired_t": "two-sided paired t-test of the case-wise differences (scipy.stats.ttest_rel)",
    "wilcoxon": "two-sided Wilcoxon signed-rank test of the case-wise differences; cases without a difference are left "
    "out (scipy.stats.wilcoxon, zero_method='wilcox', method='auto')",
    "wins": "cases in which the model is better than the baseline; ties are equal to the last bit",
}


@dataclass(frozen=True)
class PairedTest:
    """Statistic and two-sided p of a paired test; both None, with a reason, where the test has no answer."""

    statistic: float | None
    p: float | None
    n: int
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a strict JSON object; "reason" stands there only where p is null."""
        document = asdict(self)
        if self.reason is None:
            del document["reason"]
        return document


def paired_t_test(model: Sequence[float], baseline: Sequence[float]) -> PairedTest:
    """Test whether the mean difference of two models over the same cases is zero.

    Args:
        model: (N,) finite scores, one per case.
        baseline: (N,) finite scores of the same cases in the same order.

    Returns:
        The t statistic (positive where the model's scores are larger) and p. Null with a reason: "n_below_2",
        "all_differences_zero", "all_differences_equal" (no variance, t would be infinite).

    Raises:
        ValueError: where the lengths differ or a score is not finite.
    """
    differences = _differences(model, baseline)
    reason = _no_test(differences)
    if reason is None and np.all(differences == differences[0]):
        reason = "all_differences_equal"
    if reason is not None:
        return PairedTest(None, None, len(differences), reason)
    result = stats.ttest_rel(model, baseline)
    return _checked(float(result.statistic), float(result.pvalue), len(differences))


def wilcoxon_test(model: Sequence[float], baseline: Sequence[float]) -> PairedTest:
    """Test whether the differences of two models over the same cases are symmetric about zero.

    Args and errors as `paired_t_test`. Null with a reason: "n_below_2", "all_differences_zero".

    Source: F. Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1, 1945.
    """
    differences = _differences(model, baseline)
    reason = _no_test(differences)
    if reason is not None:
        return PairedTest(None, None, len(differences), reason)
    result = stats.wilcoxon(differences)
    return _checked(float(result.statistic), float(result.pvalue), len(differences))


def win_tie_loss(model: Sequence[float], baseline: Sequence[float], *, higher_is_better: bool) -> tuple[int, int, int]:
    """Count the cases in which the model is better than, equal to and worse than the baseline."""
    differences = _differences(model, baseline)
    higher, lower = int(np.count_nonzero(differences > 0)), int(np.count_nonzero(differences < 0))
    ties = len(differences) - higher - lower
    return (higher, ties, lower) if higher_is_better else (lower, ties, higher)


def _differences(model: Sequence[float], baseline: Sequence[float]) -> np.ndarray:
    if len(model) != len(baseline):
        raise ValueError(f"expected as many scores of the model as of the baseline, got {len(model)}, {len(baseline)}")
    differences = np.asarray(model, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    if not np.isfinite(differences).all():
        raise ValueError("expected finite scores, got NaN or infinity")
    return differences


def _no_test(differences: np.ndarray) -> str | None:
    if len(differences) < 2:
        return "n_below_2"
    return "all_differences_zero" if not differences.any() else None


def _checked(statistic: float, p: float, n: int) -> PairedTest:
    if not (math.isfinite(statistic) and math.isfinite(p)):
        return PairedTest(None, None, n, "not_finite")
    return PairedTest(statistic, p, n)
