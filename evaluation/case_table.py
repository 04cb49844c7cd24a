"""cases.csv: one row for each case, region and model, with every number of the comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.csv_files import write_csv
from nnunet_multitask.evaluation.aggregation import OTHER_METRICS, PENALISED_METRICS

METRICS = (*PENALISED_METRICS, "reference_volume_ml", *OTHER_METRICS)


def write_case_table(comparison: Mapping[str, Any], path: str | Path) -> None:
    """Write the scores of every case of a comparison as CSV (UTF-8, comma, LF).

    An empty cell is a number that is not defined; the status of the row says why. Text that a spreadsheet would take
    for a formula starts with an apostrophe.

    Args:
        comparison: the document of comparison.json.
        path: where to write.
    """
    targets = {
        name: score["classes"]
        for model in comparison["models"].values()
        for name, score in model["classification"].items()
    }
    columns = ["case", "region", "model", "status", *METRICS]
    for name, classes in targets.items():
        columns += [f"{name}_reference", f"{name}_decision", *(f"{name}_p_{label}" for label in classes)]
    write_csv(path, columns, _rows(comparison, targets))


def _rows(comparison: Mapping[str, Any], targets: Mapping[str, list[str]]) -> Iterator[list[Any]]:
    for case_id in comparison["geometry"]:
        for region in comparison["labels"]:
            for name, model in comparison["models"].items():
                score = model["segmentation"]["cases"][case_id][region]
                row = [case_id, region, name, score["status"], *(score[metric] for metric in METRICS)]
                for target, classes in targets.items():
                    row += _class_cells(model["classification"].get(target, {}).get("cases", {}).get(case_id), classes)
                yield row


def _class_cells(found: Mapping[str, Any] | None, classes: list[str]) -> list[Any]:
    if found is None:
        return [None] * (2 + len(classes))
    reference, decision = (
        value if isinstance(value, str) else ";".join(value) for value in (found["reference"], found["decision"])
    )
    return [reference, decision, *(found["probabilities"][name] for name in classes)]
