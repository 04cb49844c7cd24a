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
        such number), of scans, slices or patients as the table is; of several targets the first that has the classes
        and the type that the table asks for ("target_type"). "warnings" names where split or meaning differ, and why
        there is no number.

    Raises:
        InputError: no such paper.
    """
    document = read_published(name)
    for table in document["tables"]:
        found = {
            model: _values(entry, table, comparison["comparisons"].get(model, {}))
            for model, entry in comparison["models"].items()
        }
        table["yours"] = {model: values for model, (values, _) in found.items()}
        table["warnings"] = [
            SPLIT_WARNING.format(
                data=document["data"], n=len(comparison["geometry"]), reference=comparison["reference"]
            ),
            *dict.fromkeys(warning for _, warnings in found.values() for warning in warnings),
            *(f"{metric}: {entry['warning']}" for metric, entry in table["metrics"].items() if "warning" in entry),
        ]
    return document


Values = tuple[dict[str, float | None], list[str]]


def _values(model: Mapping[str, Any], table: Mapping[str, Any], against_baseline: Mapping[str, Any]) -> Values:
    if table["task"] == "segmentation":
        return _segmentation(model, table, against_baseline)
    if table["task"] == "classification":
        return _classification(model, table)
    return dict.fromkeys(table["metrics"]), []


def _segmentation(model: Mapping[str, Any], table: Mapping[str, Any], against_baseline: Mapping[str, Any]) -> Values:
    values: dict[str, float | None] = {}
    for metric, entry in table["metrics"].items():
        region = entry.get("region", FOREGROUND)
        summary = model["segmentation"]["summary"].get(region, {})
        if table["level"] == "slice":
            values[metric] = summary.get("slices", {}).get("dsc") if entry["beside"] == "dsc" else None
        elif table["level"] == "scan":
            tests = against_baseline.get(region, {}).get(entry["beside"])
            values[metric] = _statistic(summary.get(entry["beside"]), tests, entry.get("statistic", "mean"))
        else:
            values[metric] = None
    if table["level"] == "slice":
        warnings = ["yours: DSC of the slices on which the reference has voxels, each counted once"]
        if any(entry["beside"] not in (None, "dsc") for entry in table["metrics"].values()):
            warnings.append("yours n/a: of slices there is DSC alone; means of scans do not mean the same")
        return values, warnings
    return values, ["yours: means over cases in which missed and false positive ones count with the worst value"]


def _statistic(summary: Mapping[str, Any] | None, tests: Mapping[str, Any] | None, name: str) -> float | None:
    """Return mean or std of the penalised values, or the share of cases that are better than the baseline's."""
    value: float | None = None
    if name == "better_percent":
        cases = sum(tests[outcome] for outcome in ("wins", "ties", "losses")) if tests else 0
        value = 100 * tests["wins"] / cases if tests and cases else None
    elif summary:
        value = summary["penalised"][name]
    return value


def _classification(model: Mapping[str, Any], table: Mapping[str, Any]) -> Values:
    nothing: dict[str, float | None] = dict.fromkeys(table["metrics"])
    if not model["classification"]:
        return nothing, []
    named = {entry["class"] for entry in table["metrics"].values() if "class" in entry}
    wanted = table.get("target_type")
    fitting = {
        target: score
        for target, score in model["classification"].items()
        if named <= set(score["classes"]) and wanted in (None, score["type"])
    }
    if not fitting:
        what = f"{wanted} target" if wanted else f"target with the classes {', '.join(sorted(named))}"
        return nothing, [f"yours n/a: the table asks for a {what}, which no model has"]
    target, score = next(iter(fitting.items()))
    level = {"slice": "slice", "patient": "patient_any_slice"}.get(table["level"])
    if level is not None and level not in score["levels"]:
        reason = f"yours n/a: published of the level {table['level']}, and target {target} is scored of scans alone"
        return nothing, [reason]
    warnings = [f"yours: target {target} ({', '.join(score['classes'])}); check that the positive class is the same"]
    score = score if level is None else score["levels"][level]
    values = {}
    for metric, entry in table["metrics"].items():
        of = score["per_class"][entry["class"]] if "class" in entry else score
        values[metric] = of.get(entry["beside"])
    return values, warnings
