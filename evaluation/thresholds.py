"""Thresholds of a probability by named rules: from which value on a case is called positive."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.errors import InputError

DEFAULT_RULES = ("youden", "max_f1", "mean_f1_over_folds", "sensitivity_at_least_0.9", "specificity_at_least_0.9")
RULE_TEXTS = {
    "youden": "largest sensitivity + specificity - 1",
    "max_f1": "largest F1 over all cases together",
    "mean_f1_over_folds": "maximum of the mean of the folds' F1 curves (Hoseyni et al. 2024, on the validation folds)",
    "sensitivity_at_least_S": "highest threshold whose sensitivity is at least S",
    "specificity_at_least_S": "lowest threshold whose specificity is at least S",
}
TOLERANCE = 1e-12  # two values this near are equal but for rounding


@dataclass(frozen=True)
class Rule:
    """A rule by its name, for example "youden" or "sensitivity_at_least_0.9".

    Args:
        name: as in calibration.json.
        kind: the name without its number.
        level: the number, None for rules that have none.
    """

    name: str
    kind: str
    level: float | None = None

    def needed(self) -> tuple[int, int]:
        """Return how many positive and negative cases the rule needs to allow one error at its level."""
        if self.level is None:
            return 0, 0
        cases = math.ceil(1 / (1 - self.level) - TOLERANCE)
        return (cases, 0) if self.kind.startswith("sensitivity") else (0, cases)


def parse_rule(name: str) -> Rule:
    """Return the rule of a name.

    Raises:
        InputError: an unknown name, or a level that is not above 0 and below 1.
    """
    for kind in ("sensitivity_at_least", "specificity_at_least"):
        if name.startswith(f"{kind}_"):
            try:
                level = float(name[len(kind) + 1 :])
            except ValueError:
                level = math.nan
            if not 0 < level < 1:
                fault = f"expected a level above 0 and below 1, got {name[len(kind) + 1 :]!r}"
                raise InputError("bad-rule", name, fault, f"write for example {kind}_0.9")
            return Rule(f"{kind}_{level:g}", kind, level)
    if name in RULE_TEXTS and not name.endswith("_S"):
        return Rule(name, name)
    near = difflib.get_close_matches(name, RULE_TEXTS, 1)
    remedy = f"did you mean {near[0]}?" if near else "name one of these"
    raise InputError("bad-rule", name, f"expected one of the rules {', '.join(RULE_TEXTS)}", remedy)


def choose_threshold(
    rule: Rule, truth: NDArray[np.bool_], probability: NDArray[np.float64], folds: Sequence[int | str] | None = None
) -> tuple[float | None, str | None]:
    """Return the threshold of a rule, or None and the reason why it has none.

    A case is positive when its probability is at least the threshold. Thresholds lie in the middle between two
    neighbouring probabilities; of several equally good ones the one nearest to 0.5 is taken.

    Args:
        rule: what is wanted.
        truth: (N,) bool.
        probability: (N,) 0 to 1.
        folds: (N,) of each case; only "mean_f1_over_folds" looks at them.

    Returns:
        The threshold, None; or None and "one_class", "no_better_than_chance" (youden), "no_folds", "one_fold" (fewer
        than two folds with a positive case), "not_reached" (specificity, where probabilities of 1 forbid it).
    """
    if not truth.any() or truth.all():
        return None, "one_class"
    places = _candidates(probability)
    sensitivity, specificity, f1 = _curves(truth, probability, places)
    if rule.level is not None:
        if rule.kind == "sensitivity_at_least":
            return float(places[np.flatnonzero(sensitivity >= rule.level - TOLERANCE)[-1]]), None
        reached = np.flatnonzero(specificity >= rule.level - TOLERANCE)
        return (float(places[reached[0]]), None) if len(reached) else (None, "not_reached")
    if rule.kind == "mean_f1_over_folds":
        return _mean_f1(truth, probability, folds, places)
    index = sensitivity + specificity - 1
    if rule.kind == "youden" and index.max() <= TOLERANCE:
        return None, "no_better_than_chance"
    return _best(places, index if rule.kind == "youden" else f1), None


def _mean_f1(
    truth: NDArray[np.bool_],
    probability: NDArray[np.float64],
    folds: Sequence[int | str] | None,
    places: NDArray[np.float64],
) -> tuple[float | None, str | None]:
    if folds is None:
        return None, "no_folds"
    names = np.array([str(fold) for fold in folds])
    of_folds = [names == fold for fold in np.unique(names)]
    curves = [_curves(truth[fold], probability[fold], places)[2] for fold in of_folds if truth[fold].any()]
    return (None, "one_fold") if len(curves) < 2 else (_best(places, np.mean(curves, axis=0)), None)


def _candidates(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return every threshold that makes a difference, rising: below all values, between two, above all of them."""
    values = np.unique(probability)
    places = np.concatenate([[values[0] / 2], (values[:-1] + values[1:]) / 2, [(values[-1] + 1) / 2]])
    return places if values[-1] < 1 else places[:-1]


def _curves(
    truth: NDArray[np.bool_], probability: NDArray[np.float64], places: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return sensitivity, specificity and F1 at each threshold; NaN where a class is absent."""
    positives, negatives = np.sort(probability[truth]), np.sort(probability[~truth])
    tp = len(positives) - np.searchsorted(positives, places)
    tn = np.searchsorted(negatives, places)
    with np.errstate(invalid="ignore"):
        f1 = 2 * tp / (tp + len(positives) + len(negatives) - tn)
        return tp / np.float64(len(positives)), tn / np.float64(len(negatives)), f1


def _best(places: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    best = places[values >= values.max() - TOLERANCE]
    return float(best[np.argmin(np.abs(best - 0.5))])
