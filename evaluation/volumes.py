"""Agreement of volumes measured twice on the same scans: Bland-Altman limits and intraclass correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
LIMITS_Z = 1.96
DEFINITIONS = {
    "bias": "mean of the differences, measured minus reference",
    "sd": "sample standard deviation of the differences",
    "limits_of_agreement": "bias - 1.96 sd to bias + 1.96 sd (Bland and Altman 1986)",
    "bias_interval": "95 % interval of the bias (Student's t)",
    "limits_interval": "95 % intervals of the lower and of the upper limit (Student's t, standard error "
    "sd sqrt(1/n + 1.96^2 / (2 (n - 1))))",
    "icc_2_1": "intraclass correlation ICC(2,1) of Shrout and Fleiss 1979: two-way random effects, absolute agreement, "
    "single measurement; a constant bias lowers it",
    "icc_3_1": "intraclass correlation ICC(3,1) of Shrout and Fleiss 1979: two-way mixed effects, consistency, single "
    "measurement; a constant bias does not lower it",
    "icc_interval": "95 % interval from the F distribution (Shrout and Fleiss 1979; McGraw and Wong 1996); null "
    "where its ends are no numbers or do not hold the estimate, as in a few scans without agreement",
}


def volume_agreement(reference: Sequence[float], measured: Sequence[float]) -> dict[str, Any]:
    """Return how well volumes agree with those of the reference.

    Args:
        reference: (N,) volumes.
        measured: (N,) volumes of the same scans, of the same unit.

    Returns:
        A strict JSON object: "n", the results of `bland_altman` and those of `intraclass_correlation`; what is not
        defined is null, with its reason under "reasons".

    Raises:
        ValueError: where the lengths differ or a volume is not finite.
    """
    pairs = _table(np.stack((np.atleast_1d(measured), np.atleast_1d(reference)), axis=1) if len(reference) else [])
    parts = bland_altman(pairs[:, 1], pairs[:, 0]), intraclass_correlation(pairs)
    reasons = {name: reason for part in parts for name, reason in part.pop("reasons", {}).items()}
    document = {"n": len(pairs), **parts[0], **parts[1]}
    return {**document, "reasons": reasons} if reasons else document


def bland_altman(reference: ArrayLike, measured: ArrayLike) -> dict[str, Any]:
    """Return bias and limits of agreement of two measurements of the same scans.

    Args:
        reference: (N,) finite numbers.
        measured: (N,) finite numbers.

    Returns:
        "bias", "sd", "limits_of_agreement", "bias_interval", "limits_interval"; null with a reason under "reasons"
        where there are no cases, or fewer than two for all but the bias.

    Source: J. M. Bland, D. G. Altman, Statistical methods for assessing agreement between two methods of clinical
    measurement, Lancet 327, 1986; intervals of the limits: Measuring agreement in method comparison studies, Stat
    Methods Med Res 8, 1999.
    """
    difference = np.asarray(measured, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    spread = ("sd", "limits_of_agreement", "bias_interval", "limits_interval")
    n = len(difference)
    if n < 2:
        empty = {"bias": float(difference[0]) if n else None, **dict.fromkeys(spread)}
        reasons = dict.fromkeys(spread, "n_below_2") if n else dict.fromkeys(("bias", *spread), "no_cases")
        return {**empty, "reasons": reasons}
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    t = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1))
    of_bias = t * sd / math.sqrt(n)
    of_limits = t * sd * math.sqrt(1 / n + LIMITS_Z**2 / (2 * (n - 1)))
    limits = [bias - LIMITS_Z * sd, bias + LIMITS_Z * sd]
    return {
        "bias": bias,
        "sd": sd,
        "limits_of_agreement": limits,
        "bias_interval": [bias - of_bias, bias + of_bias],
        "limits_interval": [[limit - of_limits, limit + of_limits] for limit in limits],
    }


def intraclass_correlation(measurements: ArrayLike) -> dict[str, Any]:
    """Return the intraclass correlations of several measurements of the same scans.

    Args:
        measurements: (N, K) finite numbers, K of 2 or more measurements of each of N scans.

    Returns:
        "icc_2_1", "icc_3_1" and an interval of each; null with a reason under "reasons" where there are fewer than
        two scans, no variance between them, no residual, or ends of an interval that are no numbers or do not hold
        the estimate ("no_valid_interval").

    Source: P. E. Shrout, J. L. Fleiss, Intraclass correlations: uses in assessing rater reliability, Psychol Bull 86,
    1979; the interval of ICC(2,1): K. O. McGraw, S. P. Wong, Psychol Methods 1, 1996.
    """
    table = _table(measurements)
    names = ("icc_2_1", "icc_2_1_interval", "icc_3_1", "icc_3_1_interval")
    n, k = table.shape
    if n < 2:
        return {**dict.fromkeys(names), "reasons": dict.fromkeys(names, "n_below_2" if n else "no_cases")}
    scans, raters, rest = _mean_squares(table)
    total = scans + (k - 1) * rest + k * (raters - rest) / n
    if scans + rest == 0 or total == 0:  # all scans are equal, or two scans were measured the other way round
        return {**dict.fromkeys(names), "reasons": dict.fromkeys(names, "no_variance_between_scans")}
    agreement = (scans - rest) / total
    consistency = (scans - rest) / (scans + (k - 1) * rest)
    result: dict[str, Any] = {"icc_2_1": agreement, "icc_2_1_interval": None}
    result |= {"icc_3_1": consistency, "icc_3_1_interval": None}
    if rest == 0:  # every scan has the same difference: F would be infinite
        return {**result, "reasons": dict.fromkeys(("icc_2_1_interval", "icc_3_1_interval"), "no_residual")}
    with np.errstate(all="ignore"):  # of few scans without agreement F has hardly any degrees of freedom
        ends = {
            "icc_2_1": _agreement_interval(agreement, scans, raters, rest, n, k),
            "icc_3_1": _consistency_interval(scans / rest, n, k),
        }
    valid = {f"{name}_interval": found for name, found in ends.items() if _holds(found, result[name])}
    reasons = {name: "no_valid_interval" for name in ("icc_2_1_interval", "icc_3_1_interval") if name not in valid}
    return {**result, **valid, **({"reasons": reasons} if reasons else {})}


def _table(measurements: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(measurements, dtype=np.float64)
    table = table.reshape(0, 2) if table.size == 0 else table
    if table.ndim != 2 or table.shape[1] < 2 or not np.isfinite(table).all():
        raise ValueError(f"expected finite measurements (scans, 2 or more), got the shape {table.shape}")
    return table


def _mean_squares(table: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean squares of a two-way analysis of variance without replication: between scans, between raters, residual."""
    n, k = table.shape
    grand, of_scan, of_rater = table.mean(), table.mean(axis=1, keepdims=True), table.mean(axis=0)
    scans = k * float(((of_scan - grand) ** 2).sum()) / (n - 1)
    raters = n * float(((of_rater - grand) ** 2).sum()) / (k - 1)
    residual = float(((table - of_scan - of_rater + grand) ** 2).sum()) / ((n - 1) * (k - 1))
    # what rounding leaves of no variance at all is none
    noise = 1e-24 * float((table**2).max())
    scans, raters, residual = (square if square > noise else 0.0 for square in (scans, raters, residual))
    return scans, raters, residual


def _holds(ends: list[float], estimate: float) -> bool:
    slack = 1e-9  # rounding, where an end is the estimate
    return all(math.isfinite(end) for end in ends) and ends[0] - slack <= estimate <= ends[1] + slack


def _agreement_interval(icc: float, scans: float, raters: float, rest: float, n: int, k: int) -> list[float]:
    a = k * icc / (n * (1 - icc))
    b = 1 + k * icc * (n - 1) / (n * (1 - icc))
    degrees = (a * raters + b * rest) ** 2 / ((a * raters) ** 2 / (k - 1) + (b * rest) ** 2 / ((n - 1) * (k - 1)))
    upper_f = stats.f.ppf(0.5 + LEVEL / 2, n - 1, degrees)
    lower_f = stats.f.ppf(0.5 + LEVEL / 2, degrees, n - 1)
    spread = k * raters + (k * n - k - n) * rest
    lower = n * (scans - upper_f * rest) / (upper_f * spread + n * scans)
    upper = n * (lower_f * scans - rest) / (spread + n * lower_f * scans)
    return [float(lower), float(upper)]


def _consistency_interval(f: float, n: int, k: int) -> list[float]:
    low = f / stats.f.ppf(0.5 + LEVEL / 2, n - 1, (n - 1) * (k - 1))
    high = f * stats.f.ppf(0.5 + LEVEL / 2, (n - 1) * (k - 1), n - 1)
    return [float((value - 1) / (value + k - 1)) for value in (low, high)]
