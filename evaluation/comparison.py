"""Comparing the predictions of several models over the same cases, one of the models being the baseline."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation import class_comparison, families, paired_scores
from nnunet_multitask.evaluation.aggregation import EMPTY_POLICY, penalised_pairs
from nnunet_multitask.evaluation.case_sets import choose_cases
from nnunet_multitask.evaluation.class_comparison import compare_classes, correct_classes
from nnunet_multitask.evaluation.class_evaluation import DEFINITIONS as CLASS_DEFINITIONS
from nnunet_multitask.evaluation.class_evaluation import ClassOptions
from nnunet_multitask.evaluation.dataset_json import DATASET_JSON, read_dataset_json
from nnunet_multitask.evaluation.families import correct_metrics
from nnunet_multitask.evaluation.folders import evaluate_folders
from nnunet_multitask.evaluation.levels import patient_of
from nnunet_multitask.evaluation.paired_scores import PRIMARY_TESTS, PrimaryTest, compare_scores
from nnunet_multitask.evaluation.predictions import CLASSIFICATION_NAME
from nnunet_multitask.labels import LabelSidecar

logger = logging.getLogger(__name__)

COMPARISON_VERSION = 1
# True where more is better
TESTED_METRICS = {
    "dsc": True,
    "hd95": False,
    "hd95_directed": False,
    "hd": False,
    "iou": True,
    "nsd": True,
    "assd": False,
    "masd": False,
}
FAMILY = ("dsc", "hd95", "hd95_directed", "hd")


@dataclass(frozen=True)
class ComparisonOptions:
    """What is to be named before the results are seen.

    Args:
        primary: the test whose p counts.
        family: the metrics whose p are corrected together.
        dsc_margin: of non-inferiority of the DSC; None asks for none.
    """

    primary: PrimaryTest = "wilcoxon"
    family: tuple[str, ...] = FAMILY
    dsc_margin: float | None = None

    def check(self) -> None:
        """Raise InputErrors for an unknown test or metric, and for a margin outside 0 to 1."""
        errors = []
        if self.primary not in PRIMARY_TESTS:
            fault = f"expected one of {', '.join(PRIMARY_TESTS)}, got {self.primary}"
            errors.append(InputError("unknown-test", "primary test", fault, "name one of them"))
        unknown = [metric for metric in self.family if metric not in TESTED_METRICS]
        if unknown or not self.family or len(set(self.family)) < len(self.family):
            fault = (
                f"expected different metrics among {', '.join(TESTED_METRICS)}, got {', '.join(self.family) or 'none'}"
            )
            errors.append(InputError("unknown-metric", "family", fault, "name metrics that are tested, each once"))
        if self.dsc_margin is not None and not 0 < self.dsc_margin < 1:
            fault = f"expected a difference of DSC between 0 and 1, got {self.dsc_margin}"
            errors.append(InputError("bad-margin", "margin of non-inferiority", fault, "name for example 0.02"))
        if errors:
            raise InputErrors(errors)


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
    options: ComparisonOptions = ComparisonOptions(),
    intersection: bool = False,
    case_ids: Collection[str] | None = None,
    classes: Mapping[str, ClassOptions] | None = None,
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
        options: primary test, family and margin.
        intersection: leave out the cases that only some of the models predicted; the document says which.
        case_ids: cases to look at; None: all that have a reference.
        classes: calibration, gate and folds by the name of the model.

    Returns:
        The document of comparison.json, ready for strict JSON: "models" by name ("segmentation": cases and summary,
        "classification" by target, "calibration" and "gate" as in evaluation.json, null where there is none),
        "comparisons" by model, region and metric, "class_comparisons" by model and
        target, "case_set", "attributes" of the sidecar by case id. The same inputs give the same document.

    Raises:
        InputError, InputErrors: fewer than two models, an unknown baseline, unknown tests, models that predicted
            different cases, and whatever `evaluate_folders` refuses.
    """
    options.check()
    folders = {name: Path(folder) for name, folder in models.items()}
    _check_models(folders, baseline)
    scored, case_set = choose_cases(reference_dir, folders, file_ending, case_ids=case_ids, intersection=intersection)
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
            case_ids=scored,
            classes=(classes or {}).get(name),
        )
    base = evaluations[baseline]
    others = [name for name in folders if name != baseline]
    patients = {case_id: patient_of(sidecar or LabelSidecar({}, {}), case_id) for case_id in base["cases"]}
    comparisons = {name: _compare(evaluations[name], base, patients, options) for name in others}
    correct_metrics(comparisons, options.family)
    class_comparisons = {
        name: compare_classes(evaluations[name]["classification"], base["classification"]) for name in others
    }
    correct_classes(class_comparisons)
    return {
        "version": COMPARISON_VERSION,
        "software": base["software"],
        "command": command,
        "definitions": {
            "segmentation": base["definitions"]["segmentation"],
            "classification": CLASS_DEFINITIONS["classification"],
            "mask_classification": CLASS_DEFINITIONS["mask_classification"],
            "gate": CLASS_DEFINITIONS["gate"],
            "tests": {**paired_scores.DEFINITIONS, "family": families.DEFINITION},
            "class_tests": class_comparison.DEFINITIONS,
        },
        "test_options": {**asdict(options), "family": list(options.family)},
        "case_set": case_set,
        "empty_policy": dict(EMPTY_POLICY),
        "reference": str(reference_dir),
        "images": None if images_dir is None else str(images_dir),
        "image_channel": _first_channel([Path(reference_dir).absolute().parent, *folders.values()]),
        "file_ending": file_ending,
        "labels": base["labels"],
        "patients": _count_patients(sidecar, list(base["cases"])),
        "attributes": _attributes(sidecar, list(base["cases"])),
        "geometry": {
            case_id: {key: value for key, value in entry.items() if key != "prediction"}
            for case_id, entry in base["geometry"].items()
        },
        "baseline": baseline,
        "warnings": list(dict.fromkeys(w for evaluation in evaluations.values() for w in evaluation["warnings"])),
        "models": {
            name: {
                "folder": str(folders[name]),
                "model": metadata[name],
                "case_flow": evaluation["case_flow"],
                "segmentation": {"summary": evaluation["summary"], "cases": evaluation["cases"]},
                "classification": evaluation["classification"],
                "mask_classification": evaluation["mask_classification"],
                "calibration": evaluation["calibration"],
                "gate": evaluation["gate"],
            }
            for name, evaluation in evaluations.items()
        },
        "comparisons": comparisons,
        "class_comparisons": class_comparisons,
    }


def _check_models(folders: Mapping[str, Path], baseline: str) -> None:
    if len(folders) < 2:
        raise InputError("one-model", "models", f"expected a baseline and a model, got {len(folders)}", "name both")
    if baseline not in folders:
        raise InputError(
            "unknown-baseline", baseline, f"expected one of {', '.join(folders)}, got {baseline}", "name one of them"
        )


def _compare(
    model: Mapping[str, Any], baseline: Mapping[str, Any], patients: Mapping[str, str], options: ComparisonOptions
) -> dict[str, dict[str, dict[str, Any]]]:
    diagonals = {case_id: entry["diagonal_mm"] for case_id, entry in baseline["geometry"].items()}
    return {
        region: {
            metric: compare_scores(
                penalised_pairs(model["cases"], baseline["cases"], diagonals, region, metric),
                patients,
                higher_is_better=higher_is_better,
                primary=options.primary,
                margin=options.dsc_margin if metric == "dsc" else None,
            )
            for metric, higher_is_better in TESTED_METRICS.items()
        }
        for region in baseline["labels"]
    }


def _attributes(sidecar: LabelSidecar | None, case_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return what the sidecar tells of the scored cases beside their classes; cases without attributes are absent."""
    known = {} if sidecar is None else sidecar.cases
    return {c: dict(known[c].attributes) for c in case_ids if c in known and known[c].attributes}


def _count_patients(sidecar: LabelSidecar | None, case_ids: list[str]) -> int | None:
    """Return how many patients the cases are of; None where the sidecar does not tell it for each case."""
    if sidecar is None:
        return None
    groups = {sidecar.cases[case_id].group if case_id in sidecar.cases else None for case_id in case_ids}
    return None if None in groups else len(groups)


def _metadata(folder: Path) -> dict[str, Any]:
    """Return what the files in a folder of predictions tell of the model; empty where they tell nothing.

    nnU-Net leaves plans.json there, which names dataset and plans, but neither trainer nor folds; trainers of this
    package leave their name in the plans, and their predictor the rest in classification.json.
    """
    known: dict[str, Any] = {}
    if (folder / "plans.json").is_file():
        document = read_json(folder / "plans.json")
        if isinstance(document, dict):
            known = {key: document[key] for key in ("dataset_name", "plans_name") if key in document}
            known |= document.get("multitask", {}).get("model", {})
    if (folder / CLASSIFICATION_NAME).is_file():
        document = read_json(folder / CLASSIFICATION_NAME)
        known |= document.get("model", {}) if isinstance(document, dict) else {}
    return known


def _first_channel(folders: list[Path]) -> str | None:
    """Return the name of image channel 0, for example "CT", from the first dataset.json there is."""
    for folder in folders:
        if (folder / DATASET_JSON).is_file():
            names = read_dataset_json(folder / DATASET_JSON).channel_names
            return names[0] if names else None
    return None
