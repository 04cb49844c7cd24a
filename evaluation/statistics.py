"""Paired tests: whether one model's scores differ from another's over the same cases or patients."""

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
    "permutation": "two-sided sign-flip permutation test of the mean difference: all sign patterns up to 15 "
    "differences, else 9,999 random ones with a fixed seed and p = (b + 1) / (9,999 + 1)",
    "wins": "cases in which the model is better than the baseline; ties are equal to the last bit",
}

EXACT_UP_TO = 15  # 32,768 sign patterns
RANDOM_PATTERNS = 9999
SEED = 20250101  # fixed: the same data give the same p


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


def permutation_test(model: Sequence[float], baseline: Sequence[float]) -> PairedTest:
    """Test whether the mean difference is zero, by flipping the signs of the differences.

    Args and errors as `paired_t_test`. The statistic is the mean difference. Null with a reason: "n_below_2",
    "all_differences_zero".

    Source: R. A. Fisher, The Design of Experiments, 1935, section 21; p of random patterns after B. Phipson, G. K.
    Smyth, Statistical Applications in Genetics and Molecular Biology 9, 2010.
    """
    differences = _differences(model, baseline)
    reason = _no_test(differences)
    n = len(differences)
    if reason is not None:
        return PairedTest(None, None, n, reason)
    exact = n <= EXACT_UP_TO
    if exact:
        flips = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        flips = np.random.default_rng(SEED).integers(0, 2, size=(RANDOM_PATTERNS, n), dtype=np.int8)
    sums = (1.0 - 2.0 * flips) @ differences
    # sums that only rounding tells apart are equal
    extreme = int(np.count_nonzero(np.abs(sums) >= abs(differences.sum()) - 1e-12 * np.abs(differences).sum()))
    p = extreme / 2**n if exact else (extreme + 1) / (RANDOM_PATTERNS + 1)
    return _checked(float(differences.mean()), p, n)


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
