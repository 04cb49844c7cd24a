"""Counts of what was found, missed and invented, and the ratios made of them; for lesions, slices and scans alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

D = TypeVar("D", bound="Detection")


@dataclass(frozen=True)
class Detection:
    """Counts of a detection; a ratio without anything to divide by is NaN.

    Args:
        true_positives: things of the reference that were found.
        misses: things of the reference that were not.
        false_positives: things found that are none.
        true_negatives: places where nothing is and nothing was found; None where such places cannot be counted, as
            with lesions.
    """

    true_positives: int = 0
    misses: int = 0
    false_positives: int = 0
    true_negatives: int | None = None

    @property
    def sensitivity(self) -> float:
        """TP / (TP + misses)."""
        return _ratio(self.true_positives, self.true_positives + self.misses)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP)."""
        if self.true_negatives is None:
            return math.nan
        return _ratio(self.true_negatives, self.true_negatives + self.false_positives)

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + misses)."""
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.misses)

    def to_json(self) -> dict[str, Any]:
        """Return a strict JSON object: what is not defined becomes null, with its reason under "reasons".

        Where true negatives cannot be counted, neither they nor the specificity stand in it.
        """
        document = asdict(self)
        undefined = {
            "sensitivity": "no_positive_reference",
            "specificity": "no_negative_reference",
            "precision": "no_positive_decision",
            "f1": "no_positive_reference_or_decision",
        }
        if self.true_negatives is None:
            del document["true_negatives"], undefined["specificity"]
        reasons = {}
        for name, reason in undefined.items():
            value = getattr(self, name)
            document[name] = None if math.isnan(value) else value
            if math.isnan(value):
                reasons[name] = reason
        return {**document, "reasons": reasons} if reasons else document


def pooled(documents: Sequence[Mapping[str, Any]], kind: type[D]) -> D:
    """Return the sum of counts, at least one, that `Detection.to_json` of one kind has written."""
    names = [field.name for field in fields(kind) if field.name in documents[0]]
    return kind(**{name: sum(document[name] for document in documents) for name in names})


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
