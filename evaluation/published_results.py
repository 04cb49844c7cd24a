"""Tables of published papers, put beside the user's numbers, with a warning where they do not mean the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.regions import FOREGROUND

FOLDER = Path(__file__).parent / "published"
SPLIT_WARNING = "published on other cases ({data}), yours are the {n} of {reference}: a difference is no test"


def published_names() -> list[str]:
    """Return the names of the papers whose tables ship with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read_published(name: str) -> dict[str, Any]:
    """Return the tables of a paper: "title", "source", "data", "level", "read_with_care" and "tables".

    Raises:
        InputError: no such paper.
    """
    if name not in published_names():
        fault = f"expected one of {', '.join(published_names())}, got {name}"
        raise InputError("unknown-paper", "--published", fault, "name one of them")
    document: dict[str, Any] = read_json(FOLDER / f"{name}.json")
    return document


def beside_published(name: str, comparison: Mapping[str, Any]) -> dict[str, Any]:
    """Put the models of a comparison into the tables of a paper.

    Args:
        name: see `published_names`.
        comparison: the document of comparison.json.

    Returns:
        The paper's document; each table has "yours": by model the values of the metrics that mean the same (null: no
        such number), of scans, slices or patients as the table is; of several targets the first that has the classes.
        "warnings" names where split, level or meaning differ.

    Raises:
        InputError: no such paper.
    """
    document = read_published(name)
    for table in document["tables"]:
        found = {model: _values(entry, table) for model, entry in comparison["models"].items()}
        table["yours"] = {model: values for model, (values, _) in found.items()}
        table["warnings"] = [
            SPLIT_WARNING.format(
                data=document["data"], n=len(comparison["geometry"]), reference=comparison["reference"]
            ),
            *dict.fromkeys(warning for _, warnings in found.values() for warning in warnings),
            *(f"{metric}: {entry['warning']}" for metric, entry in table["metrics"].items() if "warning" in entry),
        ]
    return document


def _values(model: Mapping[str, Any], table: Mapping[str, Any]) -> tuple[dict[str, float | None], list[str]]:
    if table["task"] == "segmentation":
        return _segmentation(model, table)
    if table["task"] == "classification":
        return _classification(model, table)
    return dict.fromkeys(table["metrics"]), []


def _segmentation(model: Mapping[str, Any], table: Mapping[str, Any]) -> tuple[dict[str, float | None], list[str]]:
    summary = model["segmentation"]["summary"]
    values: dict[str, float | None] = {}
    for metric, entry in table["metrics"].items():
        region = summary.get(entry.get("region", FOREGROUND), {})
        values[metric] = region[entry["beside"]]["penalised"]["mean"] if entry["beside"] in region else None
    warnings = ["yours: means over cases in which missed and false positive ones count with the worst value"]
    if table["level"] != "scan":
        warnings.append(f"published of the level {table['level']}, yours of scans")
    return values, warnings


def _classification(model: Mapping[str, Any], table: Mapping[str, Any]) -> tuple[dict[str, float | None], list[str]]:
    named = {entry["class"] for entry in table["metrics"].values() if "class" in entry}
    fitting = {target: score for target, score in model["classification"].items() if named <= set(score["classes"])}
    if not fitting:
        return dict.fromkeys(table["metrics"]), []
    target, score = next(iter(fitting.items()))
    warnings = [f"yours: target {target} ({', '.join(score['classes'])}); check that the positive class is the same"]
    level = {"slice": "slice", "patient": "patient_any_slice"}.get(table["level"])
    if level is not None and level in score["levels"]:
        score = score["levels"][level]
    elif level is not None:
        warnings.append(f"published of the level {table['level']}, yours of scans")
    values = {}
    for metric, entry in table["metrics"].items():
        of = score["per_class"][entry["class"]] if "class" in entry else score
        values[metric] = of.get(entry["beside"])
    return values, warnings
