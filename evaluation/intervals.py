"""Confidence intervals with the name of their method: Wilson for proportions, BCa bootstrap for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 2000
MEAN_RESAMPLES = 20_000  # means cost little; 2,000 move the ends of skewed ones, as penalised distances, by a fifth
MEAN_UNITS = 1000  # beyond so many units the ends are steady enough, and draws would fill the memory
SEED = 20250101  # fixed: the same data give the same interval
MIN_UNITS = 10  # 92,378 different resamples; 5 units have 126, and their bootstrap is no distribution
MAX_UNDEFINED = 0.05  # share of resamples in which a metric may be undefined and is left out
VALUES_AT_ONCE = 1_000_000  # drawn weights held in memory

# by metric, (B,) values of B resamples; NaN where a resample does not define the metric
Statistics = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Interval:
    """A confidence interval; both ends None, with a reason, where there is none.

    Args:
        low, high: the ends.
        method: "wilson", "delong", "delong_logit", "bca_2000" (the number of resamples; of means "bca_20000") or
            "bca_2000_by_patient".
        confidence: for example 0.95.
        reason: why there is no interval.
    """

    low: float | None
    high: float | None
    method: str
    confidence: float = CONFIDENCE
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a strict JSON object; "reason" stands there only where the ends are null."""
        document = {"low": self.low, "high": self.high, "method": self.method, "confidence": self.confidence}
        return document if self.reason is None else document | {"reason": self.reason}


def wilson_interval(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Return Wilson's score interval of a proportion; null with the reason "no_cases" for n = 0.

    Args:
        successes: how many of n.
        n: independent trials.
        confidence: for example 0.95.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.
    """
    if not n:
        return Interval(None, None, "wilson", confidence, "no_cases")
    ends = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Interval(float(ends.low), float(ends.high), "wilson", confidence)


def bootstrap_intervals(
    statistics: Callable[[NDArray[np.float64]], Statistics],
    units: NDArray[np.integer],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Return BCa bootstrap intervals of several metrics from the same resamples, drawn with a fixed seed.

    Whole units (patients) are drawn with replacement: cases of one patient are not independent of each other.

    Args:
        statistics: from (B, N) weights, the number of times each of N cases is in each of B resamples, to (B,) values
            by metric.
        units: (N,) 0 to U - 1, the unit of each case.
        confidence: for example 0.95.
        resamples: how many.

    Returns:
        Intervals by metric, null with a reason: "undefined" (the metric itself is), "fewer_than_10_units",
        "undefined_in_resamples" (in more than 5 % of them: a class is too rare), or those of `bca_ends`.
    """
    num_units = int(units.max()) + 1 if len(units) else 0
    method = f"bca_{resamples}" + ("" if num_units == len(units) else "_by_patient")
    estimates = {name: float(values[0]) for name, values in statistics(np.ones((1, len(units)))).items()}
    if num_units < MIN_UNITS:
        reason = f"fewer_than_{MIN_UNITS}_units"
        return {name: Interval(None, None, method, confidence, reason) for name in estimates}
    replicates = resampled(statistics, units, resamples)
    left_out = _in_parts(statistics, 1.0 - np.eye(num_units), units)  # each unit left out once
    intervals = {}
    for name, estimate in estimates.items():
        defined = replicates[name][np.isfinite(replicates[name])]
        if not np.isfinite(estimate):
            intervals[name] = Interval(None, None, method, confidence, "undefined")
        elif len(defined) < (1 - MAX_UNDEFINED) * resamples:
            intervals[name] = Interval(None, None, method, confidence, "undefined_in_resamples")
        else:
            low, high, why = bca_ends(estimate, defined, left_out[name], confidence)
            intervals[name] = Interval(low, high, method, confidence, why)
    return intervals


def mean_intervals(values: Mapping[str, NDArray[np.float64]], units: NDArray[np.integer]) -> dict[str, Interval]:
    """Return the intervals of the means of several metrics over the same cases, by `bootstrap_intervals`.

    From `MEAN_RESAMPLES` resamples; of more than `MEAN_UNITS` units from `RESAMPLES`.

    Args:
        values: by metric (N,) finite numbers; without any cases the intervals are null with the reason "no_cases".
        units: (N,) 0 to U - 1, the unit of each case.
    """
    if not len(units):
        return {name: Interval(None, None, f"bca_{MEAN_RESAMPLES}", reason="no_cases") for name in values}
    table = np.stack(list(values.values()), axis=1)  # (N, M)
    is_constant = (table == table[0]).all(axis=0)  # rounding would give it an interval of its own

    def means(weights: NDArray[np.float64]) -> Statistics:
        found = np.where(is_constant, table[0], weights @ table / weights.sum(axis=1, keepdims=True))
        return dict(zip(values, found.T, strict=True))

    return bootstrap_intervals(means, units, resamples=MEAN_RESAMPLES if units.max() < MEAN_UNITS else RESAMPLES)


def units_of(case_ids: Iterable[str], patients: Mapping[str, str] | None = None) -> NDArray[np.integer]:
    """Return the number of the patient of each case, 0 to U - 1 by first appearance; without patients, of each case."""
    owners = [case_id if patients is None else patients[case_id] for case_id in case_ids]
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    return np.array([numbers[owner] for owner in owners], dtype=np.intp)


def resampled(
    statistics: Callable[[NDArray[np.float64]], Statistics], units: NDArray[np.integer], resamples: int
) -> dict[str, NDArray[np.float64]]:
    """Return the statistics of bootstrap samples of whole units, the same samples each time.

    Args:
        statistics, units: as `bootstrap_intervals`; at least one unit.
        resamples: B, how many.

    Returns:
        By metric (B, ...) values.
    """
    return _in_parts(statistics, _drawn(int(units.max()) + 1, resamples), units)


@lru_cache(maxsize=4)  # drawing takes longer than scoring, and regions and models have the same cases
def _drawn(num_units: int, resamples: int) -> NDArray[np.uint16]:
    """How often each unit (U,) is in each resample, (B, U)."""
    rng, even = np.random.default_rng(SEED), np.full(num_units, 1 / num_units)
    drawn = np.empty((resamples, num_units), np.uint16)  # of a million units none is drawn more than some ten times
    rows = max(1, VALUES_AT_ONCE // num_units)
    for first in range(0, resamples, rows):
        drawn[first : first + rows] = rng.multinomial(num_units, even, size=len(drawn[first : first + rows]))
    return drawn


def bca_ends(
    estimate: float, replicates: NDArray[np.float64], left_out: NDArray[np.float64], confidence: float = CONFIDENCE
) -> tuple[float | None, float | None, str | None]:
    """Return the ends of a bias-corrected and accelerated bootstrap interval, or (None, None, reason).

    Args:
        estimate: the metric of the sample.
        replicates: (B,) the metric of each resample, finite.
        left_out: (U,) the metric of the sample without each unit; those that are not finite are left out.
        confidence: for example 0.95.

    Returns:
        Low end, high end, None; or None, None and "all_resamples_equal" or "all_resamples_on_one_side".

    Source: B. Efron, Better bootstrap confidence intervals, JASA 82, 1987, equations 2.3 and 6.6; resamples equal to
    the estimate count half, as scipy.stats.bootstrap does.
    """
    if np.ptp(replicates) == 0:
        return None, None, "all_resamples_equal"
    below = (np.count_nonzero(replicates < estimate) + np.count_nonzero(replicates <= estimate)) / 2
    if below in (0, len(replicates)):
        return None, None, "all_resamples_on_one_side"
    bias = stats.norm.ppf(below / len(replicates))
    jackknife = left_out[np.isfinite(left_out)]
    influence = jackknife.mean() - jackknife if len(jackknife) else np.zeros(1)
    scale = float((influence**2).sum()) ** 1.5
    acceleration = float((influence**3).sum()) / (6 * scale) if scale > 0 else 0.0
    ends = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        z = bias + stats.norm.ppf(tail)
        level = stats.norm.cdf(bias + z / (1 - acceleration * z))
        ends.append(float(np.quantile(replicates, level)))
    return ends[0], ends[1], None


def _in_parts(
    statistics: Callable[[NDArray[np.float64]], Statistics],
    unit_weights: NDArray[np.floating | np.integer],
    units: NDArray[np.integer],
) -> dict[str, NDArray[np.float64]]:
    """Return the statistics for (B, U) weights of units, a part of the rows at a time, for want of memory."""
    rows = max(1, VALUES_AT_ONCE // len(units))
    parts = [
        statistics(unit_weights[i : i + rows][:, units].astype(np.float64)) for i in range(0, len(unit_weights), rows)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
