"""report.html: a comparison on one self-contained page, with comparison.json and cases.csv beside it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from nnunet_multitask.documents import write_json
from nnunet_multitask.evaluation.aggregation import penalised
from nnunet_multitask.evaluation.case_table import write_case_table
from nnunet_multitask.evaluation.comparison import TESTED_METRICS
from nnunet_multitask.evaluation.figures import Picture, confusion_plot, dsc_plot, roc_plot
from nnunet_multitask.evaluation.overlays import choose_cases, draw_overlays
from nnunet_multitask.evaluation.regions import FOREGROUND
from nnunet_multitask.storage import atomic_file

REPORT_NAME = "report.html"
COMPARISON_NAME = "comparison.json"
CASES_NAME = "cases.csv"
METRIC_TITLES = {"dsc": "DSC", "hd95": "HD95", "hd95_directed": "HD95, directed", "hd": "HD"}
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
REASONS = {
    "one_class": "one class only",
    "no_cases": "no cases",
    "n_below_2": "fewer than 2 cases",
    "all_differences_zero": "all equal",
    "all_differences_equal": "all differences equal",
    "both_empty": "both empty",
    "missed": "missed",
    "false_positive": "false positive",
    "no_positive_decision": "never decided",
    "no_positive_reference": "no such case",
    "no_negative_reference": "no other case",
    "fewer_than_10_units": "fewer than 10 cases",
    "not_in_family": "not corrected",
    "no_positive_reference_or_decision": "no such case",
}


def write_report(comparison: Mapping[str, Any], output_dir: str | Path) -> Path:
    """Write report.html, comparison.json and cases.csv.

    Args:
        comparison: what `compare_folders` returned. Images and masks of a few cases are read again from the folders
            that it names.
        output_dir: made where it is absent; files of these names are replaced.

    Returns:
        The path of report.html.

    Raises:
        InputError: an image that cannot be read, or with another geometry than its mask.
    """
    output_dir = Path(output_dir)
    page = render_report(comparison)
    write_json(output_dir / COMPARISON_NAME, comparison)
    write_case_table(comparison, output_dir / CASES_NAME)
    with atomic_file(output_dir / REPORT_NAME) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return output_dir / REPORT_NAME


def render_report(comparison: Mapping[str, Any]) -> str:
    """Return the page as HTML; see `write_report`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "signed": _signed, "p_value": _p_value, "reason": _reason}
    baseline = comparison["baseline"]
    others = [name for name in comparison["models"] if name != baseline]
    cases = choose_cases(comparison, others[0])
    return environment.get_template("report.html.j2").render(
        comparison=comparison,
        baseline=baseline,
        others=others,
        names=[baseline, *others],
        regions=_regions(comparison),
        region_titles={region: _region_title(region, comparison) for region in comparison["labels"]},
        foreground=FOREGROUND,
        metric_titles=METRIC_TITLES,
        tested_metrics={metric: TESTED_METRICS[metric] for metric in METRIC_TITLES},
        class_metric_titles=CLASS_METRIC_TITLES,
        facts=_facts(comparison, [baseline, *others]),
        targets=_targets(comparison),
        dsc_picture=_dsc_picture(comparison, [baseline, *others]),
        overlays=draw_overlays(comparison, cases),
        change_of=others[0],
        rows=_case_rows(comparison, [baseline, *others]),
    )


def _facts(comparison: Mapping[str, Any], names: list[str]) -> dict[str, list[str | None]]:
    """What is known of each model: title, then one text a model, None where nothing is recorded."""
    facts: dict[str, list[str | None]] = {
        "Role": ["baseline" if n == comparison["baseline"] else "model" for n in names]
    }
    models = [comparison["models"][name]["model"] for name in names]
    for title, keys in {
        "Dataset": ("dataset", "dataset_name"),
        "Trainer": ("trainer",),
        "Plans": ("plans", "plans_name"),
        "Configuration": ("configuration",),
        "Folds": ("folds",),
        "Checkpoints (SHA-256)": ("checkpoint_sha256",),
    }.items():
        values = [next((model[key] for key in keys if model.get(key)), None) for model in models]
        if title != "Dataset" or any(values):
            facts[title] = [None if value is None else _text(value) for value in values]
    facts["Predictions"] = [comparison["models"][name]["folder"] for name in names]
    return facts


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"fold {key}: {str(entry)[:16]}…" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(entry) for entry in value)
    return str(value)


def _regions(comparison: Mapping[str, Any]) -> list[str]:
    """All foreground first; a single label that is the same is not shown twice."""
    labels = comparison["labels"]
    return [FOREGROUND, *(name for name, values in labels.items() if values != labels[FOREGROUND])]


def _region_title(region: str, comparison: Mapping[str, Any]) -> str:
    labels = comparison["labels"]
    if region != FOREGROUND:
        return region
    same = [name for name, values in labels.items() if name != FOREGROUND and values == labels[FOREGROUND]]
    return same[0] if same else "all labels together"


def _targets(comparison: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """For each target its scores by model and its pictures."""
    targets: dict[str, dict[str, Any]] = {}
    for name, model in comparison["models"].items():
        for target, score in model["classification"].items():
            targets.setdefault(target, {"scores": {}, "pictures": []})["scores"][name] = score
    for target, entry in targets.items():
        classes = next(iter(entry["scores"].values()))["classes"]
        entry["classes"] = classes
        for label in classes if len(classes) > 2 else classes[1:]:
            curves = {
                name: {**score["per_class"][label]["roc"], "auc": score["per_class"][label]["auc"]}
                for name, score in entry["scores"].items()
                if score["per_class"].get(label, {}).get("roc")
            }
            if curves:
                entry["pictures"].append(roc_plot(curves, f"{target}: {label} against the rest"))
        for name, score in entry["scores"].items():
            if "confusion_matrix" in score and score["n"]:
                entry["pictures"].append(confusion_plot(score["confusion_matrix"], classes, f"{target}, {name}"))
    return targets


def _dsc_picture(comparison: Mapping[str, Any], names: list[str]) -> Picture | None:
    values: dict[str, dict[str, float]] = {}
    for name in names:
        scores = comparison["models"][name]["segmentation"]["cases"]
        found = {case_id: penalised(score[FOREGROUND], "dsc", 0.0) for case_id, score in scores.items()}
        values[name] = {case_id: dsc for case_id, dsc in found.items() if dsc is not None}
    shared = [case_id for case_id in values[names[0]] if all(case_id in scores for scores in values.values())]
    if not shared:
        return None
    return dsc_plot({name: {case_id: scores[case_id] for case_id in shared} for name, scores in values.items()})


def _case_rows(comparison: Mapping[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """One row a case of the table per case: scores of all foreground by model, decisions by target."""
    models = comparison["models"]
    rows = []
    for case_id in comparison["geometry"]:
        scores = {name: models[name]["segmentation"]["cases"][case_id][FOREGROUND] for name in names}
        baseline_dsc, model_dsc = (penalised(scores[name], "dsc", 0.0) for name in names[:2])
        decisions: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for name in names:
            for target, entry in models[name]["classification"].items():
                if case_id in entry["cases"]:
                    decisions[target].append({"model": name, **_decision(entry["cases"][case_id])})
        rows.append(
            {
                "case": case_id,
                "scores": scores,
                "change": None if baseline_dsc is None or model_dsc is None else model_dsc - baseline_dsc,
                "decisions": decisions,
            }
        )
    return rows


def _decision(found: Mapping[str, Any]) -> dict[str, Any]:
    """Reference and decision of a case as texts, and the probability of a single class."""
    reference, decision = found["reference"], found["decision"]
    if isinstance(decision, str):
        right, probability = decision == reference, found["probabilities"][decision]
        return {"reference": reference, "decision": decision, "right": right, "probability": probability}
    return {
        "reference": ", ".join(reference) or "none",
        "decision": ", ".join(decision) or "none",
        "right": set(decision) == set(reference),
        "probability": None,
    }


def _number(value: float | None, digits: int = 3) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int = 3) -> str:
    if value is None:
        return "n/a"
    text = f"{value:+.{digits}f}"
    return text.replace("-", "\u2212") if float(text) else f"{0:.{digits}f}"


def _p_value(test: Mapping[str, Any]) -> str:
    p = test["p"]
    if p is None:
        return f"n/a ({_reason(test['reason'])})"
    return "< 0.001" if p < 0.001 or math.isclose(p, 0) else f"{p:.3f}"


def _reason(code: str) -> str:
    return REASONS.get(code, code.replace("_", " "))
