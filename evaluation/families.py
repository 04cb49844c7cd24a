"""Families of tests: which p values of a comparison are corrected together, written beside each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nnunet_multitask.evaluation.multiplicity import holm

DEFINITION = (
    "of each region the metrics of the family in all models together, of each target the AUC of every class and the "
    "accuracy in all models together"
)


def correct_metrics(
    comparisons: Mapping[str, Mapping[str, Mapping[str, dict[str, Any]]]], family: Sequence[str]
) -> None:
    """Write "p_holm" and "family" into the primary test of each metric, in place.

    Args:
        comparisons: by model, region and metric, what `compare_scores` returned.
        family: names of the metrics that are corrected together; others get null, reason "not_in_family".
    """
    for region in next(iter(comparisons.values()), {}):
        entries = {
            f"{model}: {metric}": (metric in family, entry["primary"])
            for model, regions in comparisons.items()
            for metric, entry in regions[region].items()
        }
        for member, primary in entries.values():
            if not member:
                primary |= {"p_holm": None, "reason": "not_in_family"}
        correct((name, primary) for name, (member, primary) in entries.items() if member)


def correct(tests: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Write "p_holm" and "family", the names of all members with a p, into tests with the key "p", in place."""
    entries = dict(tests)
    adjusted = holm({name: test["p"] for name, test in entries.items() if test["p"] is not None})
    for name, test in entries.items():
        test["p_holm"] = adjusted.get(name)
        test["family"] = list(adjusted)
