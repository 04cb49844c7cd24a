"""Volumes and agreement of masks that were changed after the prediction, as nnU-Net's postprocessing does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.config import PLANS_KEY
from nnunet_multitask.documents import check_schema, read_json
from nnunet_multitask.errors import InputError, InputErrors, collecting
from nnunet_multitask.inference.measures import mask_agreement, mask_values, measure_mask
from nnunet_multitask.inference.records import CLASSIFICATION_JSON
from nnunet_multitask.inference.worklist import default_worklist, parse_worklist
from nnunet_multitask.inference.writers import write_documents
from nnunet_multitask.labels import Target

DATASET_JSON = "dataset.json"
PLANS_JSON = "plans.json"


def remeasure(
    masks: Path, predictions: Path, dataset_json_file: Path | None = None, worklist: str | None = None
) -> dict[str, Any]:
    """Measure masks anew, and write the classification of their cases with what was found into their folder.

    Probabilities and decisions stay. So does the agreement of a case whose mask a gate had cleared: it was judged by
    the mask before.

    Args:
        masks: folder of the masks, one for each case.
        predictions: folder of a prediction: classification.json, dataset.json and plans.json; it may be the same.
        dataset_json_file: another dataset.json.
        worklist: ``TARGET`` or ``TARGET:CLASS`` that sorts worklist.csv.

    Returns:
        The classification.json that was written.

    Raises:
        InputError: no classification there, or one of a model that only classifies.
        InputErrors: every mask that is missing or damaged.
    """
    path = predictions / CLASSIFICATION_JSON
    if not path.is_file():
        fault = "expected what `nnunet-multitask predict` wrote, got no such file"
        raise InputError("no-classification", path, fault, "name the folder of the prediction by --predictions")
    document: dict[str, Any] = read_json(path)
    check_schema(document, CLASSIFICATION_JSON, path)
    dataset_json = read_json(dataset_json_file or predictions / DATASET_JSON)
    if not any(case.get("labels") for case in document["cases"].values()):
        fault = "expected volumes of the predicted masks, got none: this model only classifies"
        raise InputError("no-volumes", path, fault, "there is nothing to measure")
    targets = _targets(document, predictions / PLANS_JSON)
    chosen = default_worklist(targets) if worklist is None else parse_worklist(worklist, targets)
    errors: list[InputError] = []
    for case_id, case in document["cases"].items():
        with collecting(errors):
            case["labels"] = measure_mask(masks / f"{case_id}{dataset_json['file_ending']}", mask_values(dataset_json))
            if not case.get("gated", False):
                for name, record in case["targets"].items():
                    decision = record["decision"]
                    label = decision if isinstance(decision, str) else tuple(decision)
                    found = mask_agreement(targets[name], label, dataset_json["labels"], case["labels"])
                    record["mask_agreement"] = found
    if errors:
        raise InputErrors(errors)
    write_documents(masks, CLASSIFICATION_JSON, document, chosen)
    return document


def _targets(document: Mapping[str, Any], plans_file: Path) -> dict[str, Target]:
    """Return the targets of a classification, with the regions that tell them where the plans are there."""
    known = read_json(plans_file).get(PLANS_KEY, {}).get("targets", {}) if plans_file.is_file() else {}
    return {
        name: Target.from_json(name, known.get(name, entry), plans_file) for name, entry in document["targets"].items()
    }
