"""The headline table of a comparison as rows of numbers, for the page, Markdown, LaTeX and CSV alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nnunet_multitask.evaluation.report_texts import (
    METRIC_TITLES,
    SUBSET_ACCURACY,
    interval,
    model_names,
    number,
    p_value,
    region_title,
    shown_regions,
    signed,
)

# of a target these stand in the headline; the others in the section on classification
CLASS_METRICS = {"auc": "AUC", "accuracy": "Accuracy"}
# of a multilabel target the accuracy that is compared, since its "accuracy" is a mean over the classes
MULTILABEL_METRICS = {"auc": "AUC", "subset_accuracy": SUBSET_ACCURACY}


@dataclass(frozen=True)
class HeadlineRow:
    """One metric of one model.

    Args:
        part: "segmentation" or "classification".
        group: title of the region, or name of the target.
        metric, title, unit: key in comparison.json, name in the table, "mm" or empty.
        model: its name.
        digits: decimals that are shown.
        n, mean, std: over all cases, failures with the worst value; of classes the score itself, without std.
        ok_n, ok_mean, ok_std: over the cases found in both masks; None for classes.
        interval: of mean or score, {"low", "high", "method"}; None where the document has none.
        ok_interval: of ok_mean.
        reason: why there is no mean.
        change: the difference from the baseline; None for the baseline, and where it has no such score.
    """

    part: str
    group: str
    metric: str
    title: str
    unit: str
    model: str
    digits: int
    n: int
    mean: float | None
    std: float | None = None
    ok_n: int | None = None
    ok_mean: float | None = None
    ok_std: float | None = None
    interval: Mapping[str, Any] | None = None
    ok_interval: Mapping[str, Any] | None = None
    reason: str | None = None
    change: Change | None = None

    @property
    def value_text(self) -> str:
        """Mean ± standard deviation, or the score with its interval."""
        return _mean_text(self.mean, self.std, self.digits)

    @property
    def ok_text(self) -> str:
        """The same over the cases found in both masks."""
        return "" if self.ok_n is None else _mean_text(self.ok_mean, self.ok_std, self.digits)

    @property
    def interval_text(self) -> str:
        """Low to high; empty where there is no interval."""
        return interval(self.interval, self.digits)

    @property
    def ok_interval_text(self) -> str:
        """The same over the cases found in both masks."""
        return interval(self.ok_interval, self.digits)


@dataclass(frozen=True)
class Change:
    """Model minus baseline over the same cases.

    Args:
        difference: of the means or scores.
        interval: of the difference.
        test: name of the primary test.
        p, p_reason: of that test, and why there is none.
        p_holm, p_holm_reason: corrected over the family.
        n: cases in the difference; more than in a model's own mean where one model alone drew nothing in a scan without
            reference (DSC 1 and distance 0 in the pair, no score alone).
        better: whether the difference speaks for the model; None where it is zero or unknown.
        wins, ties, losses: cases; None for classes.
        others: p of the other tests by name.
    """

    difference: float | None
    interval: Mapping[str, Any] | None
    test: str
    p: float | None
    p_reason: str | None
    p_holm: float | None = None
    p_holm_reason: str | None = None
    better: bool | None = None
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None
    others: Mapping[str, float | None] = field(default_factory=dict)
    digits: int = 3
    n: int | None = None

    @property
    def difference_text(self) -> str:
        """The difference with its sign."""
        return signed(self.difference, self.digits)

    @property
    def interval_text(self) -> str:
        """Low to high, with signs; empty where there is no interval."""
        return interval(self.interval, self.digits, with_sign=True)

    @property
    def p_text(self) -> str:
        """p, or why there is none."""
        return p_value(self.p, self.p_reason)

    @property
    def p_holm_text(self) -> str:
        """Corrected p, or why there is none."""
        return p_value(self.p_holm, self.p_holm_reason)

    @property
    def significant(self) -> bool:
        """Whether the p that counts, corrected where it was, lies below 0.05."""
        p = self.p if self.p_holm is None else self.p_holm
        return p is not None and p < 0.05


def headline_rows(comparison: Mapping[str, Any]) -> list[HeadlineRow]:
    """Return the rows, by region and metric, then by target; the baseline first in each.

    Args:
        comparison: the document of comparison.json.
    """
    return [*_segmentation(comparison), *_classification(comparison)]


def _segmentation(comparison: Mapping[str, Any]) -> Iterator[HeadlineRow]:
    for region in shown_regions(comparison):
        for metric, title in METRIC_TITLES.items():
            for name in model_names(comparison):
                summary = comparison["models"][name]["segmentation"]["summary"][region][metric]
                entry = comparison["comparisons"].get(name, {}).get(region, {}).get(metric)
                every, ok = summary["penalised"], summary["ok"]
                digits = 3 if metric == "dsc" else 2
                yield HeadlineRow(
                    "segmentation",
                    region_title(region, comparison),
                    metric,
                    title,
                    "" if metric == "dsc" else "mm",
                    name,
                    digits,
                    every["n"],
                    every["mean"],
                    every["std"],
                    ok["n"],
                    ok["mean"],
                    ok["std"],
                    interval=every.get("interval"),
                    ok_interval=ok.get("interval"),
                    reason=every.get("reason") if every["mean"] is None else None,
                    change=None if entry is None else _metric_change(entry, digits),
                )


def _metric_change(entry: Mapping[str, Any], digits: int) -> Change:
    primary = entry["primary"]
    difference = entry["mean_difference"]
    tests = [name for name in ("paired_t", "wilcoxon", "permutation") if name in entry]
    return Change(
        difference,
        entry["interval"],
        primary["test"],
        primary["p"],
        entry[primary["test"]].get("reason"),
        primary["p_holm"],
        primary.get("reason"),
        None if not difference else (difference > 0) == entry["higher_is_better"],
        entry["wins"],
        entry["ties"],
        entry["losses"],
        {name: entry[name]["p"] for name in tests if name != primary["test"]},
        digits,
        entry["n"],
    )


def _classification(comparison: Mapping[str, Any]) -> Iterator[HeadlineRow]:
    models = comparison["models"]
    targets = dict.fromkeys(target for model in models.values() for target in model["classification"])
    for target in targets:
        types = {
            model["classification"][target]["type"] for model in models.values() if target in model["classification"]
        }
        for metric, title in (MULTILABEL_METRICS if "multilabel" in types else CLASS_METRICS).items():
            for name in model_names(comparison):
                score = models[name]["classification"].get(target)
                if score is None:
                    continue
                compared = comparison["class_comparisons"].get(name, {}).get(target)
                yield HeadlineRow(
                    "classification",
                    target,
                    metric,
                    title,
                    "",
                    name,
                    3,
                    score["n"],
                    score[metric],
                    interval=score.get("intervals", {}).get(metric),
                    reason=score.get("reasons", {}).get(metric),
                    change=None if compared is None else _class_change(compared, metric),
                )


def _class_change(compared: Mapping[str, Any], metric: str) -> Change | None:
    """The difference of a target's score; None where each class has its own, which stand with the target."""
    if metric != "auc":
        found = compared["accuracy"]
        test, ends, name = found["mcnemar"], found["interval"], "mcnemar"
    elif len(compared["auc"]) == 1:
        found = test = ends = next(iter(compared["auc"].values()))
        name = "delong"
    else:
        return None
    difference = found["difference"]
    return Change(
        difference,
        ends,
        name,
        test["p"],
        test.get("reason"),
        test.get("p_holm"),
        test.get("reason"),
        None if not difference else difference > 0,
        n=compared["n"],
    )


def _mean_text(mean: float | None, std: float | None, digits: int) -> str:
    return number(mean, digits) + ("" if std is None else f" ± {number(std, digits)}")
