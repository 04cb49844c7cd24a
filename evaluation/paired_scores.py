"""One metric of two models over the same cases: means, difference with interval, tests, effect size, wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from nnunet_multitask.evaluation import effect_size, multiplicity, noninferiority, statistics
from nnunet_multitask.evaluation.intervals import MEAN_RESAMPLES, MEAN_UNITS, RESAMPLES, Interval, mean_intervals

PrimaryTest = Literal["paired_t", "wilcoxon", "permutation"]
PRIMARY_TESTS: tuple[PrimaryTest, ...] = get_args(PrimaryTest)

DEFINITIONS = {
    **statistics.DEFINITIONS,
    "units": "where a patient has several cases, the tests, effect sizes and p take one difference a patient, the mean "
    "over its cases; the mean difference is over cases, and its interval draws whole patients",
    "interval": f"95 % BCa bootstrap interval of the mean difference, {MEAN_RESAMPLES:,} resamples "
    f"({RESAMPLES:,} of more than {MEAN_UNITS:,} patients) with a fixed seed",
    "p_holm": multiplicity.DEFINITION,
    "non_inferiority": noninferiority.DEFINITION,
    **{f"effect size, {name}": text for name, text in effect_size.DEFINITIONS.items()},
}


def compare_scores(
    pairs: Mapping[str, tuple[float, float]],
    patients: Mapping[str, str],
    *,
    higher_is_better: bool,
    primary: PrimaryTest = "wilcoxon",
    margin: float | None = None,
) -> dict[str, Any]:
    """Compare the values of a metric.

    Args:
        pairs: (model, baseline) by case id, finite.
        patients: the patient by case id; cases of one are not independent of each other.
        higher_is_better: whether more of it is better.
        primary: the test whose p counts, named before the results are seen.
        margin: of non-inferiority, for a metric of which more is better; None asks for none.

    Returns:
        What comparison.json holds for a metric; every number that has no answer is null with a reason.
    """
    ours, theirs = [pair[0] for pair in pairs.values()], [pair[1] for pair in pairs.values()]
    wins, ties, losses = statistics.win_tie_loss(ours, theirs, higher_is_better=higher_is_better)
    n = len(pairs)
    indices = {patient: index for index, patient in enumerate(dict.fromkeys(patients[case_id] for case_id in pairs))}
    units = np.array([indices[patients[case_id]] for case_id in pairs], dtype=int)
    model, baseline = _unit_means(ours, units), _unit_means(theirs, units)
    differences = np.subtract(model, baseline).tolist()
    interval = mean_interval(np.subtract(ours, theirs), units)
    tests = {
        "paired_t": statistics.paired_t_test(model, baseline).to_json(),
        "wilcoxon": statistics.wilcoxon_test(model, baseline).to_json(),
        "permutation": statistics.permutation_test(model, baseline).to_json(),
    }
    document: dict[str, Any] = {
        "n": n,
        "unit": "case" if len(indices) == n else "patient",
        "units": len(indices),
        "values": "penalised",
        "higher_is_better": higher_is_better,
        "model_mean": sum(ours) / n if n else None,
        "baseline_mean": sum(theirs) / n if n else None,
        "mean_difference": sum(a - b for a, b in zip(ours, theirs, strict=True)) / n if n else None,
        **({} if n else {"reason": "no_cases"}),
        "interval": interval.to_json(),
        **tests,
        "primary": {"test": primary, "p": tests[primary]["p"]},
        "effect_size": effect_size.effect_sizes(differences),
        "wins": wins,
        "ties": ties,
        "losses": losses,
    }
    if "reason" in tests[primary]:
        document["primary"]["reason"] = tests[primary]["reason"]
    if margin is not None:
        document["non_inferiority"] = noninferiority.non_inferiority(differences, interval, margin)
    return document


def mean_interval(differences: np.ndarray, units: np.ndarray) -> Interval:
    """Return the BCa interval of the mean of differences (N,), drawing whole units (N,), 0 to U - 1."""
    return mean_intervals({"mean": differences}, units)["mean"]


def _unit_means(values: Sequence[float], units: np.ndarray) -> list[float]:
    """Return the mean of each unit; a unit of one value keeps it to the last bit."""
    return [] if not len(units) else (np.bincount(units, weights=values) / np.bincount(units)).tolist()
