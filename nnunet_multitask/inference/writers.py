"""The files that joint prediction writes beside the masks: ``classification.json`` and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.csv_files import write_csv
from nnunet_multitask.documents import write_json
from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.inference.measures import mask_values, measure_mask
from nnunet_multitask.inference.records import record_document, worklist_name
from nnunet_multitask.inference.reporting import Reporting, case_record
from nnunet_multitask.inference.worklist import Choice, agreement_text, write_worklist
from nnunet_multitask.labels import Target


def write_classification(
    folder: Path,
    name: str,
    model: Mapping[str, Any],
    targets: Mapping[str, Target],
    predictions: Mapping[str, CasePrediction],
    records: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write the classification of the cases whose masks lie in ``folder``, as JSON and as CSV.

    Args:
        folder: the folder of the masks.
        name: file name, ending in ``.json``; the CSV has the same stem.
        model: what predicted them.
        targets: the targets, by name.
        predictions: the new predictions, by case.
        records: records of cases that were predicted before, kept as they are.
        dataset_json: the model's, for file ending and mask labels. Masks of a format that `read_mask` does not know
            are not measured.
        known: what else is known of the new cases: ``fold`` and ``reference`` of an out-of-fold table.
        settings: how they were predicted; None where that is not told.
    """
    cases = dict(records)
    reporting = Reporting(targets)
    for case_id, prediction in predictions.items():
        measures = measure_mask(folder / f"{case_id}{dataset_json['file_ending']}", mask_values(dataset_json))
        record = case_record(reporting, prediction, dataset_json["labels"], measures)
        cases[case_id] = {**record, **(known or {}).get(case_id, {})}
    write_documents(folder, name, record_document(model, settings, targets, cases), None)


def write_documents(folder: Path, name: str, document: Mapping[str, Any], worklist: Choice | None) -> None:
    """Write a classification and what belongs beside it; the JSON last: where it is, all is.

    Args:
        folder: where.
        name: file name, ending in ``.json``; the CSV has the same stem.
        document: the content.
        worklist: what sorts ``worklist.csv``; without it none is written.
    """
    write_table((folder / name).with_suffix(".csv"), document)
    if worklist is not None:
        write_worklist(folder / worklist_name(name), document, worklist)
    write_json(folder / name, document)


def write_table(path: Path, document: Mapping[str, Any]) -> None:
    """Write a ``classification.json`` as CSV, one row a case; out of fold with fold, patient and true labels."""
    records = document["cases"].values()
    out_of_fold = any("fold" in record for record in records)
    gated = any("gated" in record for record in records)
    grouped = any("group" in record for record in records)
    labels = sorted({value for record in records for value in record.get("labels", {})}, key=int)
    header = ["case_id", *(["fold"] if out_of_fold else []), *(["group"] if grouped else [])]
    for name, target in document["targets"].items():
        header += [f"{name}_reference"] if out_of_fold else []
        header += [f"{name}_decision", *(f"{name}_probability_{class_name}" for class_name in target["classes"])]
        header += [f"{name}_mask_agreement"]
    header += ["gated"] if gated else []
    for value in labels:
        header += [f"label_{value}_volume_ml", f"label_{value}_components", f"label_{value}_largest_component_ml"]
    rows = []
    for case_id, case in document["cases"].items():
        row = [case_id, *([case.get("fold")] if out_of_fold else []), *([case.get("group")] if grouped else [])]
        for name, target in document["targets"].items():
            record = case["targets"][name]
            row += [_text_of(case.get("reference", {}).get(name))] if out_of_fold else []
            row.append(_text_of(record["decision"]))
            row += [f"{record['probabilities'][class_name]:.6f}" for class_name in target["classes"]]
            row.append(agreement_text(record))
        if gated:
            row.append("yes" if case.get("gated", False) else "no")
        for value in labels:
            row += _measured(case.get("labels", {}).get(value))
        seconds = case.get("seconds")
        rows.append([*row, None if seconds is None else f"{seconds:.3f}"])
    write_csv(path, [*header, "seconds"], rows)


def _measured(label: Mapping[str, Any] | None) -> list[str | None]:
    if label is None:
        return [None, None, None]
    largest = label.get("largest_component_ml")
    return [
        f"{label['volume_ml']:.4f}",
        str(label["components"]),
        None if largest is None else f"{largest:.4f}",
    ]


def _text_of(label: str | list[str] | None) -> str | None:
    return ";".join(label) if isinstance(label, list) else label
