"""Words and numbers of the report: titles of metrics, reasons for what is missing, and how numbers are written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from nnunet_multitask.evaluation.regions import FOREGROUND

METRIC_TITLES = {"dsc": "DSC", "hd95": "HD95", "hd95_directed": "HD95, directed", "hd": "HD"}
OTHER_TITLES = {
    "iou": "IoU",
    "nsd": "NSD",
    "assd": "ASSD mm",
    "masd": "MASD mm",
    "sensitivity": "Sensitivity, voxels",
    "precision": "Precision, voxels",
    "volume_error_ml": "Volume error mL",
    "relative_volume_difference": "Relative volume difference",
}
CLASS_METRIC_TITLES = {
    "auc": "AUC",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "f1": "F1",
    "mcc": "MCC",
    "kappa": "Kappa",
}
SUBSET_ACCURACY = "Subset accuracy (all classes right)"
MULTILABEL_METRIC_TITLES = CLASS_METRIC_TITLES | {
    "accuracy": "Accuracy, mean over classes",
    "subset_accuracy": SUBSET_ACCURACY,
}
# shown where the document has them
CALIBRATION_TITLES = {
    "average_precision": "Average precision",
    "brier": "Brier score",
    "log_loss": "Log loss",
    "ece_15_equal_width_top_label": "ECE, 15 equal widths, top label",
    "ece_10_equal_width": "ECE, 10 equal widths",
    "ece_10_equal_mass": "ECE, 10 equal masses",
}
TEST_TITLES = {
    "wilcoxon": "Wilcoxon",
    "paired_t": "paired t",
    "permutation": "permutation",
    "delong": "DeLong",
    "mcnemar": "McNemar",
}
PUBLISHED_TITLES = {name: name.upper() for name in ("dsc", "hd", "hd95", "auc", "mcc", "f1")} | {
    "iou": "IoU",
    "mm": "(mm)",
    "percent": "(%)",
}
RULE_TITLES = {
    "any_voxel": "any voxel",
    "volume": "volume",
    "largest_component": "largest component",
    "maximum_probability": "maximum probability",
}
LEVEL_TITLES = {
    "slice": "slice",
    "patient_any_scan": "patient, any scan",
    "patient_mean_scan": "patient, mean of scans",
    "patient_any_slice": "patient, any slice",
    "patient_mean_slice": "patient, mean of slices",
}
REASONS = {
    "one_class": "one class only",
    "no_cases": "no cases",
    "n_below_2": "fewer than 2 cases",
    "fewer_than_10_units": "fewer than 10 cases",
    "not_in_family": "not corrected",
    "all_differences_zero": "all equal",
    "all_differences_equal": "all differences equal",
    "both_empty": "both empty",
    "not_annotated": "not annotated",
    "missed": "missed",
    "false_positive": "false positive",
    "no_positive_decision": "never decided",
    "no_positive_reference": "no such case",
    "no_negative_reference": "no other case",
    "no_positive_reference_or_decision": "no such case",
    "several_cases_of_a_patient": "several cases of a patient",
    "all_resamples_equal": "every resample gives the same",
    "no_discordant_case": "both decide every case alike",
    "decisions_only": "decides without a score",
    "no_folds": "no folds to fit a threshold on",
    "no_slice_labels": "no labels of slices",
    "no_slice_probabilities": "no probabilities of slices",
    "one_scan_per_patient": "one scan a patient",
    "no_positive_class": "no class is the positive one",
    "no_positive_scan": "no positive scan",
}
MINUS = "\u2212"


def reason(code: str) -> str:
    """Return a reason of comparison.json in words."""
    return REASONS.get(code, code.replace("_", " "))


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table, n/a where there is none."""
    return "n/a" if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float | None, digits: int = 3) -> str:
    """Return a difference with its sign; one that rounds to zero has none."""
    if value is None:
        return "n/a"
    text = f"{value:+.{digits}f}"
    return text.replace("-", MINUS) if float(text) else f"{0:.{digits}f}"


def interval(ends: Mapping[str, Any] | None, digits: int = 3, *, with_sign: bool = False) -> str:
    """Return "low to high" of an interval of comparison.json; empty where there is none."""
    if ends is None or ends["low"] is None or ends["high"] is None:
        return ""
    text = signed if with_sign else number
    return f"{text(ends['low'], digits)} to {text(ends['high'], digits)}"


def percent_interval(ends: Mapping[str, Any]) -> str:
    """Return an interval of a share in percent; empty where there is none."""
    shares = {name: None if ends[name] is None else 100 * ends[name] for name in ("low", "high")}
    text = interval(shares, 1)
    return f"{text} %" if text else ""


def p_value(p: float | None, why: str | None = None) -> str:
    """Return p for a table; where there is none, n/a and why."""
    if p is None:
        return f"n/a ({reason(why)})" if why else "n/a"
    return "< 0.001" if p < 0.001 or math.isclose(p, 0) else f"{p:.3f}"


def published_title(metric: str) -> str:
    """Return how the tables of papers call a metric: "dice_IVH" is "Dice IVH"."""
    first, *rest = metric.split("_")
    return " ".join([PUBLISHED_TITLES.get(first, first.capitalize()), *(PUBLISHED_TITLES.get(w, w) for w in rest)])


def markdown(text: Any) -> str:
    """Return a text that Markdown shows literally, in a cell of a table too."""
    flat = re.sub(r"\s+", " ", str(text))
    return re.sub(r"([\\`*_{}\[\]<>#|~$!])", r"\\\1", flat)


def shown_regions(comparison: Mapping[str, Any]) -> list[str]:
    """Return the regions to show: all foreground first; a single label that is the same is not shown twice."""
    labels = comparison["labels"]
    return [FOREGROUND, *(name for name, values in labels.items() if values != labels[FOREGROUND])]


def region_title(region: str, comparison: Mapping[str, Any]) -> str:
    """Return how a region is called in the report."""
    labels = comparison["labels"]
    if region != FOREGROUND:
        return region
    same = [name for name, values in labels.items() if name != FOREGROUND and values == labels[FOREGROUND]]
    return same[0] if same else "all labels together"


def model_names(comparison: Mapping[str, Any]) -> list[str]:
    """Return the names of the models, the baseline first."""
    baseline = comparison["baseline"]
    return [baseline, *(name for name in comparison["models"] if name != baseline)]
