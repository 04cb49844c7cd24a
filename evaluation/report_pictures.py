"""Which figures a comparison gets: Dice and volumes of all cases; ROC, reliability and confusion of each target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnunet_multitask.evaluation.aggregation import penalised
from nnunet_multitask.evaluation.figures import (
    Picture,
    confusion_plot,
    dsc_plot,
    gate_plot,
    reliability_plot,
    roc_plot,
    volume_plot,
)
from nnunet_multitask.evaluation.regions import FOREGROUND
from nnunet_multitask.evaluation.report_texts import model_names


def dsc_picture(comparison: Mapping[str, Any]) -> Picture | None:
    """Return the plot of the foreground's DSC over the cases that have one for every model; None without any."""
    values: dict[str, dict[str, float]] = {}
    for name in model_names(comparison):
        scores = comparison["models"][name]["segmentation"]["cases"]
        found = {case_id: penalised(score[FOREGROUND], "dsc", 0.0) for case_id, score in scores.items()}
        values[name] = {case_id: dsc for case_id, dsc in found.items() if dsc is not None}
    shared = [case_id for case_id in next(iter(values.values())) if all(case_id in s for s in values.values())]
    if not shared:
        return None
    return dsc_plot({name: {case_id: scores[case_id] for case_id in shared} for name, scores in values.items()})


def volume_picture(comparison: Mapping[str, Any]) -> Picture | None:
    """Return the Bland-Altman plots of the foreground's volume; None where every mask is empty."""
    volumes = {}
    for name in model_names(comparison):
        scores = [entry[FOREGROUND] for entry in comparison["models"][name]["segmentation"]["cases"].values()]
        pairs = [
            (s["reference_volume_ml"], s["volume_ml"])
            for s in scores
            if s["status"] not in ("both_empty", "not_annotated")
        ]
        if pairs:
            volumes[name] = pairs
    return volume_plot(volumes) if volumes else None


def target_pictures(comparison: Mapping[str, Any], target: str) -> list[Picture]:
    """Return the figures of a target: ROC and reliability by class, and the confusion matrix of each model."""
    names = model_names(comparison)
    found = {name: comparison["models"][name]["classification"].get(target) for name in names}
    scores = {name: score for name, score in found.items() if score is not None}
    classes = next(iter(scores.values()))["classes"]
    pictures = []
    per_class = {
        label: {name: s["per_class"][label] for name, s in scores.items() if label in s["per_class"]}
        for label in _shown(classes)
    }
    for label, entries in per_class.items():
        curves = {name: {**entry["roc"], "auc": entry["auc"]} for name, entry in entries.items() if entry.get("roc")}
        if curves:
            pictures.append(roc_plot(curves, f"{target}: {label} against the rest", names))
    panels = {
        f"{target}: {label}": found
        for label, entries in per_class.items()
        if (found := {name: e["reliability"] for name, e in entries.items() if _points(e.get("reliability"))})
    }
    if panels:
        pictures.append(reliability_plot(panels, names))
    for name, score in scores.items():
        if score.get("confusion_matrix") and score["n"]:
            pictures.append(confusion_plot(score["confusion_matrix"], classes, f"{target}, {name}"))
    return pictures


def calibration_pictures(comparison: Mapping[str, Any]) -> dict[str, list[Picture]]:
    """Return, by model, the reliability curves before and after its calibration."""
    found = {}
    for name, model in comparison["models"].items():
        panels = {}
        for target, before in ((model.get("calibration") or {}).get("before") or {}).items():
            after = model["classification"][target]
            for label in _shown(after["classes"]):
                curves = {"before": before["reliability"][label], "after": after["per_class"][label]["reliability"]}
                if all(_points(curve) for curve in curves.values()):
                    panels[f"{target}: {label}"] = curves
        if panels:
            found[name] = [reliability_plot(panels, ("before", "after"))]
    return found


def gate_pictures(comparison: Mapping[str, Any]) -> dict[str, Picture]:
    """Return, by model with a gate, healthy scans with a mask and missed scans of the foreground by threshold."""
    gates = {name: model["gate"] for name, model in comparison["models"].items() if model.get("gate")}
    return {name: gate_plot(gate["regions"][FOREGROUND], name) for name, gate in gates.items()}


def _shown(classes: Sequence[str]) -> Sequence[str]:
    return classes if len(classes) > 2 else classes[1:]


def _points(curve: Mapping[str, Sequence[float]] | None) -> bool:
    return bool(curve and curve["n"])
