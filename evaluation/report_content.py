"""What the page shows: every number and word of a comparison by the names that the templates use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from nnunet_multitask.documents import read_json
from nnunet_multitask.evaluation import report_texts
from nnunet_multitask.evaluation.aggregation import penalised
from nnunet_multitask.evaluation.binary_metrics import FIXED_LEVELS
from nnunet_multitask.evaluation.headline import headline_rows
from nnunet_multitask.evaluation.mask_agreement import mask_agreements
from nnunet_multitask.evaluation.predictions import CLASSIFICATION_NAME
from nnunet_multitask.evaluation.regions import FOREGROUND
from nnunet_multitask.evaluation.reporting_guidelines import FILLED_TITLES, GUIDELINES
from nnunet_multitask.evaluation.strata import stratify

BY_CLASS_METRICS = ("auc", "precision", "recall", "specificity", "npv", "f1")
LEVEL_METRICS = ("auc", "balanced_accuracy", "precision", "recall", "specificity", "f1")


def report_content(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything but the pictures that the templates show, by the names that they use.

    Args:
        comparison: the document of comparison.json.
    """
    names = report_texts.model_names(comparison)
    return {
        "comparison": comparison,
        "baseline": names[0],
        "others": names[1:],
        "change_of": names[1],
        "names": names,
        "regions": report_texts.shown_regions(comparison),
        "region_titles": {region: report_texts.region_title(region, comparison) for region in comparison["labels"]},
        "foreground": FOREGROUND,
        "metric_titles": report_texts.METRIC_TITLES,
        "class_metric_titles": report_texts.CLASS_METRIC_TITLES,
        "multilabel_metric_titles": report_texts.MULTILABEL_METRIC_TITLES,
        "calibration_titles": report_texts.CALIBRATION_TITLES,
        "test_titles": report_texts.TEST_TITLES,
        "rule_titles": report_texts.RULE_TITLES,
        "level_titles": report_texts.LEVEL_TITLES,
        "level_metrics": LEVEL_METRICS,
        "by_class_metrics": BY_CLASS_METRICS,
        "fixed_levels": [f"{level:g}" for level in FIXED_LEVELS],
        "other_metrics": [name for name in report_texts.OTHER_TITLES if name not in report_texts.METRIC_TITLES],
        "other_titles": report_texts.METRIC_TITLES | report_texts.OTHER_TITLES,
        "unequal": _unequal(comparison, names),
        "headline": (rows := headline_rows(comparison)),
        "headline_groups": [(group, list(found)) for group, found in groupby(rows, key=lambda row: row.group)],
        "facts": (facts := _facts(comparison, names)),
        "stock": [name for name, trainer in zip(names, facts["Trainer"], strict=True) if trainer is None],
        "rows": _case_rows(comparison, names),
        "targets": _targets(comparison),
        "stratifications": stratify(comparison),
        "published": [_paper(paper) for paper in comparison.get("published", {}).values()],
        "guidelines": GUIDELINES,
        "filled_titles": FILLED_TITLES,
        "run_times": {name: _run_time(Path(comparison["models"][name]["folder"])) for name in names},
    }


def _unequal(comparison: Mapping[str, Any], names: list[str]) -> list[str]:
    """Regions in which a difference is over more cases than one of the means, with their numbers."""
    found = []
    for region in report_texts.shown_regions(comparison):
        for name in names[1:]:
            alone = [comparison["models"][n]["segmentation"]["summary"][region]["dsc"] for n in (names[0], name)]
            numbers = [summary["penalised"]["n"] for summary in alone]
            both = comparison["comparisons"][name][region]["dsc"]["n"]
            if set(numbers) != {both}:
                title = report_texts.region_title(region, comparison)
                found.append(f"{title}, {both} ({names[0]} {numbers[0]}, {name} {numbers[1]})")
    return found


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
        "Seed": ("seed",),
        "Code (git)": ("git_hash", "git"),
        "Checkpoints (SHA-256)": ("checkpoint_sha256",),
    }.items():
        values = [
            next((model[key] for key in keys if model.get(key) not in (None, [], {}, "")), None) for model in models
        ]
        if title not in ("Seed", "Code (git)") or any(value is not None for value in values):
            facts[title] = [None if value is None else _text(value) for value in values]
    facts["Predictions"] = [comparison["models"][name]["folder"] for name in names]
    return facts


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"fold {key}: {str(entry)[:16]}…" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(entry) for entry in value)
    return str(value)


def _targets(comparison: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """For each target its classes, its scores by model, the rules of the mask by model, and how both agree."""
    targets: dict[str, dict[str, Any]] = {}
    for name, model in comparison["models"].items():
        for target, score in model["classification"].items():
            targets.setdefault(target, {"scores": {}, "classes": score["classes"]})["scores"][name] = score
    for target, entry in targets.items():
        entry["rules"] = {
            name: found["rules"]
            for name, model in comparison["models"].items()
            if (found := (model.get("mask_classification") or {}).get(target)) and found["rules"]
        }
        entry["agreements"] = mask_agreements(comparison, target)
        entry["speaks_of_masks"] = bool(entry["rules"] or entry["agreements"])
        entry["levels"] = {
            level: {name: score["levels"][level] for name, score in entry["scores"].items() if level in score["levels"]}
            for level in dict.fromkeys(level for score in entry["scores"].values() for level in score["levels"])
        }
        entry["absent_levels"] = {
            level: why
            for score in entry["scores"].values()
            for level, why in score["absent_levels"].items()
            if level not in entry["levels"]
        }
        entry["compared"] = {
            name: found[target] for name, found in comparison["class_comparisons"].items() if target in found
        }
    return targets


def _paper(paper: Mapping[str, Any]) -> dict[str, Any]:
    """A paper as `beside_published` returns it, warnings that hold for all of its tables said once."""
    shared = [w for w in paper["tables"][0]["warnings"] if all(w in table["warnings"] for table in paper["tables"])]
    tables = [{**t, "own_warnings": [w for w in t["warnings"] if w not in shared]} for t in paper["tables"]]
    return {**paper, "tables": tables, "shared_warnings": shared}


def _run_time(folder: Path) -> dict[str, float] | None:
    """Seconds of the network by case, where the predictions tell it: number, median, sum."""
    path = folder / CLASSIFICATION_NAME
    document = read_json(path) if path.is_file() else {}
    cases = document.get("cases", {}) if isinstance(document, dict) else {}
    seconds = [float(entry["seconds"]) for entry in cases.values() if entry.get("seconds") is not None]
    return {"n": len(seconds), "median": median(seconds), "sum": sum(seconds)} if seconds else None


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
