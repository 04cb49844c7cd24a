"""The sidecar ``class_labels.json``: what class labels a dataset has, and the labels of each case."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import check_schema, read_json, write_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.targets import (
    SIDECAR_VERSION,
    Label,
    Target,
    TargetType,
    has_regions,
    label_fault,
    listing,
    parse_target,
    rule_faults,
    target_faults,
)

__all__ = [
    "SIDECAR_NAME",
    "SIDECAR_VERSION",
    "Case",
    "Label",
    "LabelSidecar",
    "Target",
    "TargetType",
    "case_id_fault",
    "has_regions",
    "parse_sidecar",
    "read_sidecar",
    "rule_faults",
    "salvage_sidecar",
    "slice_count_faults",
    "write_sidecar",
]

SIDECAR_NAME = "class_labels.json"

_SAFE_CASE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")


@dataclass(frozen=True)
class Case:
    """What is known of one case.

    Args:
        labels: target name to class name (tuple of class names for multilabel); an unknown label is absent.
        group: the patient; cases of one group never lie in two folds. None: the case is its own group.
        split: name of the part of the source data set, for example ``train`` or ``test``.
        attributes: anything else, for example ``{"age_years": 33}``.
        slices: target name to one label for each axial slice in array order (None where unknown).
        weight: how often the case is drawn in a training with ``case_sampling`` ``weights``, as a multiple of the
            others; above 0 and at most a million.
    """

    labels: Mapping[str, Label] = field(default_factory=dict)
    group: str | None = None
    split: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    slices: Mapping[str, tuple[Label | None, ...]] = field(default_factory=dict)
    weight: float = 1

    def to_json(self) -> dict[str, Any]:
        """Return the case as it stands in the sidecar; what is unknown is left out."""
        document: dict[str, Any] = {"labels": {name: _label_to_json(label) for name, label in self.labels.items()}}
        if self.group is not None:
            document["group"] = self.group
        if self.split is not None:
            document["split"] = self.split
        if self.attributes:
            document["attributes"] = dict(self.attributes)
        if self.slices:
            document["slices"] = {
                name: [None if label is None else _label_to_json(label) for label in labels]
                for name, labels in self.slices.items()
            }
        if self.weight != 1:
            document["weight"] = self.weight
        return document


@dataclass(frozen=True)
class LabelSidecar:
    """The whole sidecar: targets by name and cases by id."""

    targets: Mapping[str, Target]
    cases: Mapping[str, Case]

    def to_json(self) -> dict[str, Any]:
        """Return the sidecar as a JSON document; cases are sorted by id."""
        return {
            "version": SIDECAR_VERSION,
            "targets": {name: target.to_json() for name, target in self.targets.items()},
            "cases": {case_id: self.cases[case_id].to_json() for case_id in sorted(self.cases)},
        }


def read_sidecar(path: str | Path) -> LabelSidecar:
    """Read and check a sidecar.

    Args:
        path: the file ``class_labels.json``.

    Raises:
        InputError: the file is missing or is no JSON.
        InputErrors: every other fault, each with file and place.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            "missing-sidecar",
            path,
            "expected the class labels of the dataset, found no such file",
            "write it beside dataset.json: `nnunet-multitask labels import` or `nnunet-multitask convert` does so",
        )
    return parse_sidecar(read_json(path), path)


def write_sidecar(sidecar: LabelSidecar, path: str | Path) -> None:
    """Check a sidecar and write it, all or nothing.

    Raises:
        InputErrors: the sidecar has faults; nothing is written.
    """
    document = sidecar.to_json()
    parse_sidecar(document, path)
    write_json(path, document)


def parse_sidecar(document: Any, where: str | Path) -> LabelSidecar:
    """Turn a JSON document into a sidecar.

    Args:
        document: the parsed JSON.
        where: the file, for messages.

    Returns:
        The sidecar; null labels are left out. No case at all is allowed.

    Raises:
        InputErrors: every fault found. Faults of shape (the JSON Schema ``schemas/class_labels.json``) come first,
            faults of meaning (unknown class, unknown target, ...) only where the shape is right.
    """
    check_schema(document, "class_labels.json", where)
    targets = {name: parse_target(name, entry) for name, entry in document["targets"].items()}
    errors = [error for target in targets.values() for error in target_faults(target, where)]
    for case_id, entry in document["cases"].items():
        errors.extend(_case_errors(case_id, entry, targets, where))
    if errors:
        raise InputErrors(errors)
    return LabelSidecar(targets, {case_id: _case(entry) for case_id, entry in document["cases"].items()})


def salvage_sidecar(document: Any) -> tuple[LabelSidecar, frozenset[str]] | None:
    """Return what is sound in a document that ``parse_sidecar`` refuses, for checks that should go on all the same.

    Args:
        document: the parsed JSON.

    Returns:
        A sidecar without the targets and labels that are at fault, and the names of the targets that lost labels; None
        where the document does not follow the schema in more than the type of labels.
    """
    document = copy.deepcopy(document)
    lost = _blank_untyped_labels(document)
    try:
        check_schema(document, "class_labels.json", SIDECAR_NAME)
    except InputErrors:
        return None
    targets = {name: parse_target(name, entry) for name, entry in document["targets"].items()}
    targets = {name: target for name, target in targets.items() if not target_faults(target, SIDECAR_NAME)}

    def is_sound(name: str, label: Label) -> bool:
        if name in targets and label_fault(targets[name], label) is None:
            return True
        lost.add(name)
        return False

    cases = {}
    for case_id, entry in document["cases"].items():
        if case_id_fault(case_id) is None:
            case = _case(entry)
            labels = {name: label for name, label in case.labels.items() if is_sound(name, label)}
            slices = {
                name: tuple(label if label is not None and is_sound(name, label) else None for label in found)
                for name, found in case.slices.items()
                if name in targets
            }
            cases[case_id] = replace(case, labels=labels, slices=slices)
    return LabelSidecar(targets, cases), frozenset(lost)


def _blank_untyped_labels(document: Any) -> set[str]:
    """Make the labels of cases that are no text (1.0, for example) unknown, and return the targets that lost some."""
    lost: set[str] = set()
    cases = document.get("cases") if isinstance(document, dict) else None
    for entry in cases.values() if isinstance(cases, dict) else ():
        labels = entry.get("labels") if isinstance(entry, dict) else None
        if not isinstance(labels, dict):
            continue
        for name, label in labels.items():
            names = label if isinstance(label, list) else [label]
            if label is not None and not all(isinstance(item, str) for item in names):
                labels[name] = None
                lost.add(name)
    return lost


def slice_count_faults(sidecar: LabelSidecar, num_slices: Mapping[str, int], where: str | Path) -> list[InputError]:
    """Return cases whose labels of slices are not as many as their image has axial slices.

    Args:
        sidecar: its slices.
        num_slices: of the images, by case id; others are passed over.
        where: the sidecar's file, for messages.
    """
    errors = []
    for case_id, expected in num_slices.items():
        case = sidecar.cases.get(case_id)
        for name, slices in case.slices.items() if case else ():
            if len(slices) != expected:
                fault = f"expected a label for each of the {expected} axial slices, got {len(slices)}"
                remedy = "list one for each slice in array order, null where it is unknown"
                errors.append(InputError("slice-count", f"{where}: cases/{case_id}/slices/{name}", fault, remedy))
    return errors


def case_id_fault(case_id: str) -> str | None:
    """Return why a case id cannot be part of a file name, or None where it can."""
    if _SAFE_CASE_ID.fullmatch(case_id):
        return None
    return f"expected at most 200 letters, digits and the signs _ . + -, not starting with a sign, got {case_id[:80]!r}"


def _case(entry: Mapping[str, Any]) -> Case:
    return Case(
        labels={name: _label_from_json(label) for name, label in entry.get("labels", {}).items() if label is not None},
        group=entry.get("group"),
        split=entry.get("split"),
        attributes=entry.get("attributes", {}),
        slices={
            name: tuple(None if label is None else _label_from_json(label) for label in labels)
            for name, labels in entry.get("slices", {}).items()
        },
        weight=1 if entry.get("weight") is None else entry["weight"],
    )


def _case_errors(
    case_id: str, entry: Mapping[str, Any], targets: Mapping[str, Target], where: str | Path
) -> list[InputError]:
    place = f"{where}: cases/{case_id[:80]}"
    errors = []
    fault = case_id_fault(case_id)
    if fault is not None:
        errors.append(InputError("unsafe-case-id", place, fault, "rename the case and its files"))
    fault = _attributes_fault(entry.get("attributes", {}))
    if fault is not None:
        remedy = "write null or leave out what is unknown, and numbers of Python instead of arrays"
        errors.append(InputError("bad-attribute", f"{place}/attributes", fault, remedy))
    labels = [(f"labels/{name}", name, label) for name, label in entry.get("labels", {}).items()]
    for name, slice_labels in entry.get("slices", {}).items():
        labels.extend((f"slices/{name}/{index}", name, label) for index, label in enumerate(slice_labels))
    for key, name, label in labels:
        if name not in targets:
            fault = f"expected one of the targets {listing(targets)}, got {name!r}"
            errors.append(
                InputError("unknown-target", f"{place}/{key}", fault, "declare it under targets, or correct it")
            )
        elif label is not None:
            problem = label_fault(targets[name], _label_from_json(label))
            if problem is not None:
                errors.append(InputError("unknown-class", f"{place}/{key}", *problem))
    return errors


def _attributes_fault(attributes: Mapping[str, Any]) -> str | None:
    try:
        json.dumps(attributes, allow_nan=False)
    except (TypeError, ValueError) as error:
        return f"expected values that strict JSON can hold, got: {error}"
    return None


def _label_from_json(label: str | list[str]) -> Label:
    return label if isinstance(label, str) else tuple(label)


def _label_to_json(label: Label) -> str | list[str]:
    return label if isinstance(label, str) else list(label)
