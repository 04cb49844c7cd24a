"""AUC, its interval and the difference of two correlated AUCs by DeLong's method, with midranks."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from nnunet_multitask.evaluation.intervals import CONFIDENCE, Interval


@dataclass(frozen=True)
class AucDifference:
    """Difference of two AUCs over the same cases; None, with a reason, where it has no answer.

    Args:
        auc, other_auc: of the first and the second score.
        difference: the first minus the second.
        low, high: ends of the interval of the difference, cut at -1 and 1.
        z: difference over its standard error.
        p: two-sided.
        reason: "one_class" (no AUC), "one_case_of_a_class" (no variance), "no_variance" (both order the cases alike).
    """

    n: int
    auc: float | None = None
    other_auc: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    z: float | None = None
    p: float | None = None
    confidence: float = CONFIDENCE
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a strict JSON object; "reason" stands there only where p is null."""
        document = {"method": "delong", **asdict(self)}
        if self.reason is None:
            del document["reason"]
        return document


def delong_interval(
    truth: ArrayLike,
    score: ArrayLike,
    *,
    scale: Literal["logit", "linear"] = "logit",
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return the confidence interval of an AUC from DeLong's variance.

    On the logit scale (the default, "delong_logit") the interval stays inside 0 to 1 and keeps its coverage in small
    sets: of 11 and 11 cases with an AUC of 0.9 it covers 98 %, the linear one ("delong", cut at 0 and 1, as pROC's)
    85 %; of 20 and 40 cases 95 % and 91 %.

    Args:
        truth: (N,) bool, True for the positive class.
        score: (N,) finite, larger for the positive class; ties count half. With (R, N), scores of R trainings, it is
            the interval of their mean AUC, for other patients and these trainings.
        scale: where the normal distribution is assumed.
        confidence: for example 0.95.

    Returns:
        The interval; null with a reason: "one_class", "one_case_of_a_class", "perfect_separation" (an AUC of 0 or 1
        has no variance), "no_variance".

    Source: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44, 1988; midranks after X. Sun, W. Xu, IEEE
    Signal Processing Letters 21, 2014.
    """
    method = "delong_logit" if scale == "logit" else "delong"
    labels, scores = _checked(truth, score)
    reason = _no_variance(labels)
    if reason is not None:
        return Interval(None, None, method, confidence, reason)
    shares = _placements(labels, scores)
    auc, error = float(shares[0].mean()), math.sqrt(float(_covariance(*shares).mean()))
    if auc in (0.0, 1.0) or error == 0:
        return Interval(None, None, method, confidence, "perfect_separation" if auc in (0.0, 1.0) else "no_variance")
    z = float(stats.norm.ppf((1 + confidence) / 2))
    if scale == "linear":
        return Interval(max(0.0, auc - z * error), min(1.0, auc + z * error), method, confidence)
    logit, width = math.log(auc / (1 - auc)), z * error / (auc * (1 - auc))
    low, high = (1 / (1 + math.exp(-end)) for end in (logit - width, logit + width))
    return Interval(low, high, method, confidence)


def delong_test(
    truth: ArrayLike, score: ArrayLike, other_score: ArrayLike, *, confidence: float = CONFIDENCE
) -> AucDifference:
    """Test whether two scores of the same cases have the same AUC.

    Args:
        truth: (N,) bool, True for the positive class.
        score, other_score: (N,) finite, larger for the positive class; with (R, N), scores of R trainings each, their
            mean AUCs are compared.
        confidence: of the interval of the difference.

    Source: as `delong_interval`; DeLong 1988, equation 4; a difference of means is a linear contrast of the AUCs, too.
    """
    labels, first = _checked(truth, score)
    _, second = _checked(truth, other_score)
    reason = _no_variance(labels)
    if reason == "one_class":
        return AucDifference(len(labels), confidence=confidence, reason=reason)
    shares = _placements(labels, np.concatenate([first, second]))
    aucs = shares[0].mean(axis=1)
    auc, other = float(aucs[: len(first)].mean()), float(aucs[len(first) :].mean())
    difference = auc - other
    if reason is not None:
        return AucDifference(len(labels), auc, other, difference, confidence=confidence, reason=reason)
    contrast = np.repeat([1 / len(first), -1 / len(second)], [len(first), len(second)])
    variance = float(contrast @ _covariance(*shares) @ contrast)
    if variance <= 1e-15:  # what rounding leaves of zero
        return AucDifference(len(labels), auc, other, difference, confidence=confidence, reason="no_variance")
    error = math.sqrt(variance)
    z, width = difference / error, float(stats.norm.ppf((1 + confidence) / 2)) * error
    p = float(2 * stats.norm.sf(abs(z)))
    low, high = max(-1.0, difference - width), min(1.0, difference + width)
    return AucDifference(len(labels), auc, other, difference, low, high, z, p, confidence)


def _placements(
    truth: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, for scores (S, N), the share of negatives below each positive (S, M) and of positives above each
    negative (S, N - M), ties half; the mean of either is the AUC."""
    positives, negatives = scores[:, truth], scores[:, ~truth]
    ranks = stats.rankdata(scores, axis=1)
    of_positives = (ranks[:, truth] - stats.rankdata(positives, axis=1)) / negatives.shape[1]
    of_negatives = 1 - (ranks[:, ~truth] - stats.rankdata(negatives, axis=1)) / positives.shape[1]
    return of_positives, of_negatives


def _covariance(of_positives: NDArray[np.float64], of_negatives: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance (S, S) of the AUCs; needs two cases of each class."""
    return np.atleast_2d(np.cov(of_positives) / of_positives.shape[1] + np.cov(of_negatives) / of_negatives.shape[1])


def _no_variance(truth: NDArray[np.bool_]) -> str | None:
    counts = sorted((int(np.count_nonzero(truth)), int(np.count_nonzero(~truth))))
    return {0: "one_class", 1: "one_case_of_a_class"}.get(counts[0])


def _checked(truth: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return truth (N,) and scores (R, N)."""
    labels, scores = np.asarray(truth, dtype=bool), np.asarray(score, dtype=np.float64)
    if labels.ndim != 1 or scores.ndim not in (1, 2) or labels.shape != scores.shape[-1:]:
        raise ValueError(f"expected one score a case, got truth {labels.shape}, score {scores.shape}")
    scores = np.atleast_2d(scores)
    if not np.isfinite(scores).all():
        raise ValueError("expected finite scores, got NaN or infinity")
    return labels, scores
