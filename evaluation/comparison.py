"""Comparing the predictions of several models over the same cases, one of the models being the baseline."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.datasets import list_cases
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation import statistics
from nnunet_multitask.evaluation.aggregation import EMPTY_POLICY, penalised_pairs
from nnunet_multitask.evaluation.class_evaluation import DEFINITIONS as CLASS_DEFINITIONS
from nnunet_multitask.evaluation.dataset_json import DATASET_JSON, read_dataset_json
from nnunet_multitask.evaluation.folders import evaluate_folders
from nnunet_multitask.evaluation.predictions import CLASSIFICATION_NAME
from nnunet_multitask.labels import LabelSidecar

logger = logging.getLogger(__name__)

COMPARISON_VERSION = 1
# True where more is better
TESTED_METRICS = {"dsc": True, "hd95": False, "hd95_directed": False, "hd": False}


def compare_folders(
    reference_dir: str | Path,
    models: Mapping[str, str | Path],
    baseline: str,
    *,
    labels: Mapping[str, int | list[int]],
    sidecar: LabelSidecar | None = None,
    images_dir: str | Path | None = None,
    file_ending: str = ".nii.gz",
    num_workers: int = 1,
    progress: bool = False,
    tolerance_mm: float = 1e-3,
    model_metadata: Mapping[str, Mapping[str, Any]] | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Score several models over the same cases and test their differences from one of them.

    Args:
        reference_dir: reference masks; see `evaluate_folders`.
        models: name to folder of predictions, the baseline among them. A folder with a classification.json belongs
            to a model that classifies.
        baseline: name of the model that the others are compared with.
        labels, sidecar, file_ending, num_workers, progress, tolerance_mm: see `evaluate_folders`.
        images_dir: images of the cases (CASE_0000 + file_ending), for the pictures of the report.
        model_metadata: what is known of models by name (trainer, plans, configuration, folds, checkpoint_sha256),
            beside what their folders tell.
        command: how the comparison was started, for the report.

    Returns:
        The document of comparison.json, ready for strict JSON: "models" by name ("segmentation": cases and summary,
        "classification" by target) and "comparisons" by model, region and metric.

    Raises:
        InputError, InputErrors: fewer than two models, an unknown baseline, models that predicted different cases,
            and whatever `evaluate_folders` refuses.
    """
    folders = {name: Path(folder) for name, folder in models.items()}
    _check_models(folders, baseline)
    _check_same_cases(Path(reference_dir), folders, file_ending)
    if images_dir is not None and not Path(images_dir).is_dir():
        raise InputError("missing-folder", images_dir, "expected the folder of images, found none", "check --images")
    metadata = {name: {**_metadata(folder), **(model_metadata or {}).get(name, {})} for name, folder in folders.items()}
    evaluations = {}
    for name, folder in folders.items():
        logger.info("scoring %s: %s", name, folder)
        evaluations[name] = evaluate_folders(
            reference_dir,
            folder,
            labels=labels,
            file_ending=file_ending,
            sidecar=sidecar,
            num_workers=num_workers,
            progress=progress,
            tolerance_mm=tolerance_mm,
        )
    base = evaluations[baseline]
    return {
        "version": COMPARISON_VERSION,
        "software": base["software"],
        "command": command,
        "definitions": {
            "segmentation": base["definitions"]["segmentation"],
            "classification": CLASS_DEFINITIONS["classification"],
            "mask_classification": CLASS_DEFINITIONS["mask_classification"],
            "tests": statistics.DEFINITIONS,
        },
        "empty_policy": dict(EMPTY_POLICY),
        "reference": str(reference_dir),
        "images": None if images_dir is None else str(images_dir),
        "image_channel": _first_channel([Path(reference_dir).absolute().parent, *folders.values()]),
        "file_ending": file_ending,
        "labels": base["labels"],
        "patients": _count_patients(sidecar, list(base["cases"])),
        "geometry": {
            case_id: {key: value for key, value in entry.items() if key != "prediction"}
            for case_id, entry in base["geometry"].items()
        },
        "baseline": baseline,
        "models": {
            name: {
                "folder": str(folders[name]),
                "model": metadata[name],
                "case_flow": evaluation["case_flow"],
                "segmentation": {"summary": evaluation["summary"], "cases": evaluation["cases"]},
                "classification": evaluation["classification"],
                "mask_classification": evaluation["mask_classification"],
            }
            for name, evaluation in evaluations.items()
        },
        "comparisons": {name: _compare(evaluations[name], base) for name in folders if name != baseline},
    }


def _check_models(folders: Mapping[str, Path], baseline: str) -> None:
    if len(folders) < 2:
        raise InputError("one-model", "models", f"expected a baseline and a model, got {len(folders)}", "name both")
    if baseline not in folders:
        raise InputError(
            "unknown-baseline", baseline, f"expected one of {', '.join(folders)}, got {baseline}", "name one of them"
        )


def _check_same_cases(reference_dir: Path, folders: Mapping[str, Path], file_ending: str) -> None:
    """Refuse models that predicted different cases: their means would be over different patients."""
    references = set(list_cases(reference_dir, file_ending))
    predicted = {name: references & set(list_cases(folder, file_ending)) for name, folder in folders.items()}
    union = set().union(*predicted.values())
    errors = []
    for name, cases in predicted.items():
        absent = sorted(union - cases)
        if absent:
            shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            fault = (
                f"expected predictions of the {len(union)} cases that another model predicted, {len(absent)} are absent"
            )
            errors.append(
                InputError(
                    "different-case-sets", folders[name], f"{fault}: {shown}", "predict the same cases with each"
                )
            )
    if errors:
        raise InputErrors(errors)


def _compare(model: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    diagonals = {case_id: entry["diagonal_mm"] for case_id, entry in baseline["geometry"].items()}
    return {
        region: {
            metric: _compare_metric(
                penalised_pairs(model["cases"], baseline["cases"], diagonals, region, metric), higher_is_better
            )
            for metric, higher_is_better in TESTED_METRICS.items()
        }
        for region in baseline["labels"]
    }


def _compare_metric(pairs: Mapping[str, tuple[float, float]], higher_is_better: bool) -> dict[str, Any]:
    ours = [pair[0] for pair in pairs.values()]
    theirs = [pair[1] for pair in pairs.values()]
    wins, ties, losses = statistics.win_tie_loss(ours, theirs, higher_is_better=higher_is_better)
    n = len(pairs)
    means = (sum(ours) / n, sum(theirs) / n) if n else (None, None)
    return {
        "n": n,
        "values": "penalised",
        "higher_is_better": higher_is_better,
        "model_mean": means[0],
        "baseline_mean": means[1],
        "mean_difference": sum(a - b for a, b in zip(ours, theirs, strict=True)) / n if n else None,
        **({} if n else {"reason": "no_cases"}),
        "paired_t": statistics.paired_t_test(ours, theirs).to_json(),
        "wilcoxon": statistics.wilcoxon_test(ours, theirs).to_json(),
        "wins": wins,
        "ties": ties,
        "losses": losses,
    }


def _count_patients(sidecar: LabelSidecar | None, case_ids: list[str]) -> int | None:
    """Return how many patients the cases are of; None where the sidecar does not tell it for each case."""
    if sidecar is None:
        return None
    groups = {sidecar.cases[case_id].group if case_id in sidecar.cases else None for case_id in case_ids}
    return None if None in groups else len(groups)


def _metadata(folder: Path) -> dict[str, Any]:
    """Return what the files in a folder of predictions tell of the model; empty where they tell nothing."""
    for name in (CLASSIFICATION_NAME, "plans.json"):
        path = folder / name
        if path.is_file():
            document = read_json(path)
            if name == CLASSIFICATION_NAME:
                return dict(document.get("model", {})) if isinstance(document, dict) else {}
            known = {key: document[key] for key in ("dataset_name", "plans_name") if key in document}
            # trainers of this package leave their name in the plans, which prediction copies
            return {**known, **document.get("multitask", {}).get("model", {})}
    return {}


def _first_channel(folders: list[Path]) -> str | None:
    """Return the name of image channel 0, for example "CT", from the first dataset.json there is."""
    for folder in folders:
        if (folder / DATASET_JSON).is_file():
            names = read_dataset_json(folder / DATASET_JSON).channel_names
            return names[0] if names else None
    return None
