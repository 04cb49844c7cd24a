"""Temperature scaling: one number that makes probabilities more or less certain and leaves their order as it is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from nnunet_multitask.evaluation.probability_metrics import clipped

LOWEST, HIGHEST = 0.05, 20.0  # a temperature outside means that none fits


def scale_exclusive(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return softmax(ln p / T) of probabilities (N, C) of which each row sums to 1.

    Args:
        probabilities: (N, C); cut at 5e-7, since a file writes smaller ones as 0.
        temperature: above 0; 1 changes nothing but the cut, more makes probabilities more alike.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On calibration of modern neural networks, ICML 2017; a softmax
    forgets what is added to all logits, so that ln p does their service.
    """
    return special.softmax(np.log(clipped(probabilities)) / temperature, axis=1)


def scale_independent(probability: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return sigmoid(logit p / T) of the probabilities (N,) of one class; as `scale_exclusive`."""
    return special.expit(special.logit(clipped(probability)) / temperature)


def fit_temperature(truth: NDArray[np.integer], probabilities: NDArray[np.float64]) -> tuple[float, str | None]:
    """Return the temperature under which the truth is most likely.

    Args:
        truth: (N,) 0 to C - 1.
        probabilities: (N, C), each row sums to 1; of a class of a multilabel target its two, (1 - p, p).

    Returns:
        The temperature and None; 1 and "separable" where the most probable class is always the right one, so that the
        likelihood rises without end as the temperature falls; 20 and "uninformative" where it rises with it.
    """
    logs = np.log(clipped(probabilities))
    right = logs[np.arange(len(truth)), truth]

    def loss(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        return float(np.mean(special.logsumexp(logs * scale, axis=1) - right * scale))

    # convex in 1 / T, so that there is one minimum
    bounds = (math.log(LOWEST), math.log(HIGHEST))
    found = float(optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7}).x)
    if found - bounds[0] < 1e-3:
        return 1.0, "separable"
    if bounds[1] - found < 1e-3:
        return HIGHEST, "uninformative"
    return math.exp(found), None
