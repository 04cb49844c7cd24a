"""Predictions of a model in the classes of another data set: its masks and probabilities, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_multitask.datasets import list_cases
from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.class_mapping import (
    NOWHERE,
    ClassMapping,
    Labels,
    TargetMapping,
    covered_classes,
    read_class_mapping,
    restrict_sidecar,
)
from nnunet_multitask.evaluation.dataset_json import DATASET_JSON, read_dataset_json
from nnunet_multitask.evaluation.predictions import CLASSIFICATION_NAME, Classification, Prediction, read_classification
from nnunet_multitask.files import read_mask, write_volume
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.storage import atomic_directory, copy_file
from nnunet_multitask.targets import Target


def map_models(
    text: str,
    folders: Mapping[str, Path],
    destination: Path,
    *,
    labels: Labels,
    sidecar: LabelSidecar | None,
    file_ending: str,
) -> tuple[dict[str, Path], LabelSidecar | None, dict[str, Any]]:
    """Write the predictions of models in the classes of a data set.

    Args:
        text: the mapping; see `read_class_mapping`. It holds for every model.
        folders: predictions by name of the model, each with the dataset.json of its data set.
        destination: gets a folder for each model.
        labels, sidecar, file_ending: of the data set that the models are scored on.

    Returns:
        The new folders by name; the sidecar without the classes that no model knows; what comparison.json says:
        the mapping, the "folders" that were read, and "not_covered" labels and classes of the data set. Voxels of
        labels that are not covered stay in the reference: all foreground counts them as not found.

    Raises:
        InputError, InputErrors: a model without dataset.json, a mapping that is refused, models that it means
            different things for, masks that cannot be read.
    """
    targets = {} if sidecar is None else sidecar.targets
    mappings = {}
    for name, folder in folders.items():
        if not (folder / DATASET_JSON).is_file():
            fault = "expected the dataset.json of the data set that the model was trained on, found none"
            raise InputError("missing-dataset-json", folder, fault, "copy it into the folder of predictions")
        theirs = _targets(folder) if sidecar is not None else {}
        own = read_dataset_json(folder / DATASET_JSON).labels
        mappings[name] = (read_class_mapping(text, own, labels, theirs, targets), own)
    written = {}
    for name, (mapping, own) in mappings.items():
        written[name] = destination / name
        _write(folders[name], written[name], mapping, own, labels, targets, file_ending)
    everything = _union([mapping for mapping, _ in mappings.values()])
    document = {
        **everything.to_json(),
        "folders": {name: str(folder) for name, folder in folders.items()},
        "not_covered": {
            "labels": [n for n in labels if n not in {"background", "ignore", *everything.labels.values()}],
            "targets": {
                to.target: [n for n in targets[to.target].classes if n not in to.classes.values()]
                for to in everything.targets.values()
            },
        },
    }
    return written, None if sidecar is None else restrict_sidecar(sidecar, everything), document


def map_prediction(
    prediction: Prediction, source: Target, to: TargetMapping, target: Target
) -> tuple[dict[str, float], str | list[str]]:
    """Return probabilities and decision in the classes of another target.

    Args:
        prediction: of the model.
        source: its target.
        to: the mapping, which `read_class_mapping` let pass.
        target: of the data set.

    Returns:
        Probabilities by covered class, sums where several exclusive classes are mapped to one; a class name, or for a
        multilabel target a list.
    """
    probabilities = dict.fromkeys(covered_classes(to, target), 0.0)
    for name, p in prediction.probabilities.items():
        if to.classes[name] != NOWHERE:
            probabilities[to.classes[name]] = min(1.0, probabilities[to.classes[name]] + p)
    if target.type != "multilabel":  # the class of the largest sum need not be that of the largest part
        return probabilities, max(probabilities, key=lambda name: probabilities[name])
    decided = [prediction.decision] if isinstance(prediction.decision, str) else prediction.decision
    found = {to.classes[name] for name in decided}
    return probabilities, [name for name in probabilities if name in found]


def _write(
    folder: Path,
    destination: Path,
    mapping: ClassMapping,
    own: Labels,
    labels: Labels,
    targets: Mapping[str, Target],
    ending: str,
) -> None:
    values = [value for value in own.values() if isinstance(value, int)]
    table = np.zeros(max(values) + 1, dtype=np.uint16)
    for name, value in own.items():
        table[value] = labels.get(mapping.labels.get(name, NOWHERE), 0)
    table = table.astype(np.min_scalar_type(int(table.max())))
    errors: list[InputError] = []
    with atomic_directory(destination, overwrite=True) as temporary:
        for path in list_cases(folder, ending).values():
            try:
                mask = read_mask(path, allowed_labels=set(values))
                write_volume(replace(mask, array=table[mask.array], changed=True), temporary / path.name)
            except InputError as error:
                errors.append(error)
        if errors:
            raise InputErrors(errors)
        if (folder / "plans.json").is_file():
            copy_file(folder / "plans.json", temporary / "plans.json")
        if mapping.targets:
            found = read_classification(folder / CLASSIFICATION_NAME)
            write_json(temporary / CLASSIFICATION_NAME, _classification(found, mapping, targets))


def _classification(found: Classification, mapping: ClassMapping, targets: Mapping[str, Target]) -> dict[str, Any]:
    cases: dict[str, Any] = {}
    for case_id, predictions in found.cases.items():
        entries = {}
        for name, to in mapping.targets.items():
            if name in predictions:
                mapped = map_prediction(predictions[name], found.targets[name], to, targets[to.target])
                entries[to.target] = {"probabilities": mapped[0], "decision": mapped[1]}
        cases[case_id] = {"targets": entries}
    document = read_json(found.path)
    return {
        "version": document["version"],
        "model": document.get("model", {}),
        "targets": {
            to.target: {"type": targets[to.target].type, "classes": list(covered_classes(to, targets[to.target]))}
            for to in mapping.targets.values()
        },
        "cases": cases,
    }


def _targets(folder: Path) -> Mapping[str, Target]:
    path = folder / CLASSIFICATION_NAME
    return read_classification(path).targets if path.is_file() else {}


def _union(mappings: list[ClassMapping]) -> ClassMapping:
    """Return the mapping of all models together; one without classes has no targets."""
    covered: dict[str, set[str]] = {}
    for mapping in mappings:
        for to in mapping.targets.values():
            if covered.setdefault(to.target, set(to.classes.values())) != set(to.classes.values()):
                fault = f"expected the same classes of {to.target} from all models, got different ones"
                raise InputError("ambiguous-mapping", f"target {to.target}", fault, "compare models of one data set")
    labels = {name: to for mapping in mappings for name, to in mapping.labels.items()}
    return ClassMapping(labels, {name: to for mapping in mappings for name, to in mapping.targets.items()})
