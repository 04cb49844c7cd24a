"""What nnU-Net demands of dataset.json, said before it fails on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import has_regions

IGNORE = "ignore"

_FORMAT = "follow nnU-Net's dataset format"


def read_dataset_json(path: Path) -> Mapping[str, Any]:
    """Read dataset.json.

    Raises:
        InputError: no such file, no JSON, or a key that everything else needs is missing or of another type.
    """
    document = read_json(path)
    wanted = {"channel_names": dict, "labels": dict, "numTraining": int, "file_ending": str}
    bad = [
        key for key, kind in wanted.items() if not isinstance(document, dict) or not isinstance(document.get(key), kind)
    ]
    if bad:
        fault = f"expected channel_names, labels, numTraining and file_ending, got none or a wrong {', '.join(bad)}"
        raise InputError("bad-dataset-json", path, fault, _FORMAT)
    errors = [
        InputError(
            "bad-dataset-json",
            f"{path}: labels/{name}",
            f"expected a number from 0 on or a list of them, got {value!r}",
            _FORMAT,
        )
        for name, value in document["labels"].items()
        if not _is_label(value)
    ]
    if errors:
        raise InputErrors(errors)
    return dict(document)


def label_values(labels: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the mask values of each label or region, sorted; a label has one."""
    return {name: tuple(sorted(set(value if isinstance(value, list) else [value]))) for name, value in labels.items()}


def segments(labels: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return those of ``label_values`` that a network segments: neither background nor ignore label."""
    return {name: values for name, values in labels.items() if name != IGNORE and values != (0,)}


def dataset_json_faults(document: Mapping[str, Any], path: Path) -> list[InputError]:
    """Return what nnU-Net would stop at in channels, labels and regions, and what is not as it should be.

    Args:
        document: from ``read_dataset_json``.
        path: its file, for messages.
    """
    faults = []

    def add(key: str, fault: str, remedy: str) -> None:
        faults.append(InputError("bad-dataset-json", f"{path}: {key}", fault, remedy))

    channels = list(document["channel_names"])
    if sorted(channels) != sorted(str(index) for index in range(len(channels))) or not channels:
        add("channel_names", f'expected the keys "0", "1", ..., got {channels}', "number the channels from 0 on")
    labels = label_values(document["labels"])
    if labels.get("background") != (0,):
        add("labels", f'expected "background": 0, got {document["labels"].get("background")}', "add it")
    known = {value for name, values in labels.items() if name != IGNORE for value in values}
    if IGNORE in labels and (isinstance(document["labels"][IGNORE], list) or labels[IGNORE] != (max(known) + 1,)):
        got = document["labels"][IGNORE]
        add("labels/ignore", f"expected the highest value, {max(known) + 1}, got {got}", "renumber it")
    elif known != set(range(max(known, default=0) + 1)):
        add("labels", f"expected the values 0 to {max(known)} without a gap, got {sorted(known)}", "renumber them")
    regions = segments(labels)
    if has_regions(regions.values()):
        order = document.get("regions_class_order")
        if not isinstance(order, list) or len(order) != len(regions):
            fault = f"expected a value for each of the regions {', '.join(regions)}, got {order}"
            add("regions_class_order", fault, "list the values in the order in which regions are painted")
    return faults


def _is_label(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values)
