"""Non-inferiority: whether a model is at most a stated margin worse than the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from nnunet_multitask.evaluation.intervals import Interval

DEFINITION = (
    "non-inferior where the lower end of the 95 % interval of the mean difference lies above minus the margin, that is "
    "one-sided at 2.5 %; p is that of the one-sided paired t-test against minus the margin. The margin is to be named "
    "before the results are seen. Where all differences are equal, as of the same masks, there is nothing to resample "
    "and no interval: the one difference is the bound, with the reason all_resamples_equal beside the verdict"
)


def non_inferiority(differences: Sequence[float], interval: Interval, margin: float) -> dict[str, Any]:
    """Judge a metric of which more is better.

    Args:
        differences: (N,) finite, model minus baseline, one of each independent unit.
        interval: two-sided, of the mean difference.
        margin: above 0, in the unit of the metric.

    Returns:
        {"margin", "bound", "non_inferior", "p"}; bound and verdict null with the "reason" of the interval, but where
        that is "all_resamples_equal": then the one difference is the bound and the reason stands beside it. p null
        where there is no t-test (fewer than 2 units, or all differences equal).

    Raises:
        ValueError: the margin is not above 0.

    Source: FDA, Non-Inferiority Clinical Trials to Establish Effectiveness, 2016, section III.
    """
    if not (margin > 0 and math.isfinite(margin)):
        raise ValueError(f"expected a margin above 0, got {margin}")
    values = np.asarray(differences, dtype=np.float64)
    p = None
    if len(values) > 1 and not np.all(values == values[0]):
        p = float(stats.ttest_1samp(values, -margin, alternative="greater").pvalue)
    document: dict[str, Any] = {"margin": margin, "bound": interval.low, "non_inferior": None, "p": p}
    if interval.low is not None:
        return document | {"non_inferior": interval.low > -margin}
    if interval.reason == "all_resamples_equal" and len(values) and np.all(values == values[0]):
        bound = float(values[0])
        return document | {"bound": bound, "non_inferior": bound > -margin, "reason": interval.reason}
    return document | {"reason": interval.reason}
