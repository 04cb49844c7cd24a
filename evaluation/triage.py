"""Triage: how long positive scans wait when they are read by probability, against first come, first served."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.predictions import CLASSIFICATION_NAME, read_classification
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.targets import Target

REPEATS = 200
SEED = 20250101  # fixed: the same scans give the same waits
DEFINITION = (
    f"Simulation, {REPEATS} times with a fixed seed: all scans arrive once, in random order, as a Poisson process; one "
    "reader takes the same time for each scan and is never interrupted; the next scan is the one that came first, or "
    "the waiting one with the highest probability. Wait: from arrival to the start of reading; median over all "
    "positive scans of all repeats. Simulated: real lists have other readers, urgencies and hours"
)


def waits(arrivals_min: NDArray[np.float64], minutes_per_scan: float, urgency: Sequence[float]) -> NDArray[np.float64]:
    """Return how long each scan waits for the one reader.

    Args:
        arrivals_min: (N,) times in minutes, rising.
        minutes_per_scan: time that a scan is read for.
        urgency: (N,) of the scans that wait the one with the highest is next; of equals that which came first.

    Returns:
        (N,) minutes from arrival to the start of reading.
    """
    waited = np.zeros(len(arrivals_min))
    waiting: list[tuple[float, int]] = []
    clock, arrived = 0.0, 0
    for _ in range(len(arrivals_min)):
        if not waiting:
            clock = max(clock, float(arrivals_min[arrived]))
        while arrived < len(arrivals_min) and arrivals_min[arrived] <= clock:
            heapq.heappush(waiting, (-urgency[arrived], arrived))
            arrived += 1
        scan = heapq.heappop(waiting)[1]
        waited[scan] = clock - arrivals_min[scan]
        clock += minutes_per_scan
    return waited


def simulate_triage(
    probabilities: Sequence[float],
    positive: Sequence[bool],
    *,
    arrivals_per_hour: float,
    minutes_per_scan: float,
) -> dict[str, Any]:
    """Return the median waits of the positive scans; see `DEFINITION`.

    Args:
        probabilities: (N,) of the positive class.
        positive: (N,) whether the scan is positive.
        arrivals_per_hour: mean of the Poisson process, above 0.
        minutes_per_scan: above 0.

    Returns:
        {"n", "positives", "first_come_first_served_min", "by_probability_min", "saved_min"}, null with the reason
        "no_positive_scan".
    """
    scores, is_positive = np.asarray(probabilities, dtype=np.float64), np.asarray(positive, dtype=bool)
    document: dict[str, Any] = {"n": len(scores), "positives": int(is_positive.sum())}
    names = ("first_come_first_served_min", "by_probability_min", "saved_min")
    if not is_positive.any():
        return {**document, **dict.fromkeys(names), "reason": "no_positive_scan"}
    rng = np.random.default_rng(SEED)
    first_come, by_probability = [], []
    for _ in range(REPEATS):
        order = rng.permutation(len(scores))
        arrivals = np.cumsum(rng.exponential(60 / arrivals_per_hour, len(scores)))
        first_come.append(waits(arrivals, minutes_per_scan, np.zeros(len(scores)).tolist())[is_positive[order]])
        by_probability.append(waits(arrivals, minutes_per_scan, scores[order].tolist())[is_positive[order]])
    medians = [float(np.median(np.concatenate(found))) for found in (first_come, by_probability)]
    return {**document, **dict(zip(names, [*medians, medians[0] - medians[1]], strict=True))}


def triage_models(
    comparison: Mapping[str, Any], question: str, *, arrivals_per_hour: float, minutes_per_scan: float
) -> dict[str, Any]:
    """Simulate the triage by each model of a comparison that classifies.

    Args:
        comparison: the document of comparison.json.
        question: a target of two exclusive classes, whose second is positive, or TARGET:CLASS.
        arrivals_per_hour, minutes_per_scan: see `simulate_triage`. Where the reader cannot keep up ("utilisation" of 1
            or more), waits grow with the number of scans.

    Raises:
        InputError: no model predicts the target, an unknown or missing class, times that are not above 0.
    """
    if not (arrivals_per_hour > 0 and minutes_per_scan > 0):
        fault = f"expected rates above 0, got {arrivals_per_hour:g} scans per hour, {minutes_per_scan:g} minutes a scan"
        raise InputError("bad-rate", "triage", fault, "give the rates of your department")
    known = {
        name: Target(name, score["type"], tuple(score["classes"]))
        for model in comparison["models"].values()
        for name, score in model["classification"].items()
    }
    target, label = _positive_class(question, known)
    scores = {n: m["classification"][target] for n, m in comparison["models"].items() if target in m["classification"]}
    models = {}
    for name, score in scores.items():
        cases = score["cases"].values()
        models[name] = simulate_triage(
            [case["probabilities"][label] for case in cases],
            [label == case["reference"] or label in _several(case["reference"]) for case in cases],
            arrivals_per_hour=arrivals_per_hour,
            minutes_per_scan=minutes_per_scan,
        )
    return {
        "definition": DEFINITION,
        "target": target,
        "class": label,
        "arrivals_per_hour": arrivals_per_hour,
        "minutes_per_scan": minutes_per_scan,
        "utilisation": arrivals_per_hour * minutes_per_scan / 60,
        "models": models,
    }


def check_triage(question: str, folders: Iterable[Path], sidecar: LabelSidecar | None) -> None:
    """Refuse, before the models are scored, what `triage_models` would refuse after it.

    Args:
        question: see `triage_models`.
        folders: predictions of the models.
        sidecar: the true classes.

    Raises:
        InputError: no sidecar, no model that classifies, a target or class that none of them predicts.
    """
    if sidecar is None:
        fault = "expected the true classes, got none"
        raise InputError("missing-sidecar", f"--triage {question}", fault, "name class_labels.json with --labels")
    files = [folder / CLASSIFICATION_NAME for folder in folders]
    known = {
        name: target
        for file in files
        if file.is_file()
        for name, target in read_classification(file).targets.items()
        if name in sidecar.targets
    }
    _positive_class(question, known)


def _positive_class(question: str, known: Mapping[str, Target]) -> tuple[str, str]:
    target, _, label = question.partition(":")
    where = f"--triage {question}"
    if not known:
        fault = f"expected a model that classifies, found {CLASSIFICATION_NAME} with a labelled target in no folder"
        raise InputError("missing-classification", where, fault, "predict with a model that classifies, or leave it")
    if target not in known:
        fault = f"expected a target that a model predicts ({', '.join(known)}), got {target or 'none'}"
        raise InputError("unknown-target", where, fault, f"name one: --triage {next(iter(known))}")
    classes = known[target].classes
    exclusive = known[target].type != "multilabel" and len(classes) == 2
    label = label or (classes[1] if exclusive else "")
    if label not in classes:
        fault = f"expected one of the classes {', '.join(classes)}, got {label or 'none'}"
        raise InputError("unknown-class", where, fault, f"name one: {target}:{classes[0]}")
    return target, label


def _several(label: str | list[str]) -> list[str]:
    return [] if isinstance(label, str) else label
