"""The sidecar ``class_labels.json``: what class labels a dataset has, and the labels of each case."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nnunet_multitask.documents import check_schema, read_json, write_json
from nnunet_multitask.errors import InputError, InputErrors

SIDECAR_NAME = "class_labels.json"
SIDECAR_VERSION = 1

TargetType = Literal["binary", "multiclass", "multilabel"]
Label = str | tuple[str, ...]

_SAFE_CASE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")


@dataclass(frozen=True)
class Target:
    """One question that is asked of every case, and its possible answers.

    Args:
        name: key of the target in the sidecar.
        type: ``binary`` (classes are negative, positive), ``multiclass`` (one of them) or ``multilabel`` (any of them).
        classes: names of the classes; their order is the order of the network's outputs.
        description: free text.
        present_if_label: class name to the mask labels whose presence means the class (not for multiclass).
        min_voxels: voxels of such mask labels from which on a patch has the class.
    """

    name: str
    type: TargetType
    classes: tuple[str, ...]
    description: str = ""
    present_if_label: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    min_voxels: int = 10

    @property
    def num_outputs(self) -> int:
        """Number of logits: one for the positive class of a binary target, else one a class."""
        return 1 if self.type == "binary" else len(self.classes)

    def encode(self, label: Label) -> tuple[int, ...]:
        """Return a known label as numbers.

        Args:
            label: a class name, or for a multilabel target a tuple of class names (possibly empty).

        Returns:
            ``(0,)`` or ``(1,)`` for binary, ``(class index,)`` for multiclass, a 0 or 1 for each class for multilabel.

        Raises:
            InputError: the label has another form than the target's type asks for, or names an unknown class.
        """
        fault = _label_fault(self, label)
        if fault is not None:
            raise InputError("unknown-class", f"target {self.name}", *fault)
        if self.type == "multilabel":
            return tuple(int(name in label) for name in self.classes)
        return (self.classes.index(str(label)),)

    def to_json(self) -> dict[str, Any]:
        """Return the target as it stands in the sidecar and in the plans, without its name."""
        document: dict[str, Any] = {"type": self.type, "classes": list(self.classes)}
        if self.description:
            document["description"] = self.description
        if self.present_if_label:
            document["present_if_label"] = {name: list(labels) for name, labels in self.present_if_label.items()}
            document["min_voxels"] = self.min_voxels
        return document

    @classmethod
    def from_json(cls, name: str, document: Mapping[str, Any], where: str | Path) -> Target:
        """Return the target that ``to_json`` wrote.

        Raises:
            InputErrors: every fault of shape or meaning, each with ``where`` and its place.
        """
        wrapped = {"version": SIDECAR_VERSION, "targets": {name: document}, "cases": {}}
        return parse_sidecar(wrapped, where).targets[name]


@dataclass(frozen=True)
class Case:
    """What is known of one case.

    Args:
        labels: target name to class name (tuple of class names for multilabel); an unknown label is absent.
        group: the patient; cases of one group never lie in two folds. None: the case is its own group.
        split: name of the part of the source data set, for example ``train`` or ``test``.
        attributes: anything else, for example ``{"age_years": 33}``.
        slices: target name to one label for each axial slice in array order (None where unknown).
    """

    labels: Mapping[str, Label] = field(default_factory=dict)
    group: str | None = None
    split: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    slices: Mapping[str, tuple[Label | None, ...]] = field(default_factory=dict)

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
            f"write {SIDECAR_NAME} beside dataset.json; `nnunet-multitask convert` does so",
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
    targets = {name: _target(name, entry) for name, entry in document["targets"].items()}
    errors = [error for target in targets.values() for error in _target_errors(target, where)]
    for case_id, entry in document["cases"].items():
        errors.extend(_case_errors(case_id, entry, targets, where))
    if errors:
        raise InputErrors(errors)
    return LabelSidecar(targets, {case_id: _case(entry) for case_id, entry in document["cases"].items()})


def case_id_fault(case_id: str) -> str | None:
    """Return why a case id cannot be part of a file name, or None where it can."""
    if _SAFE_CASE_ID.fullmatch(case_id):
        return None
    return f"expected at most 200 letters, digits and the signs _ . + -, not starting with a sign, got {case_id[:80]!r}"


def _target(name: str, entry: Mapping[str, Any]) -> Target:
    return Target(
        name=name,
        type=entry["type"],
        classes=tuple(entry["classes"]),
        description=entry.get("description", ""),
        present_if_label={key: tuple(labels) for key, labels in entry.get("present_if_label", {}).items()},
        min_voxels=entry.get("min_voxels", 10),
    )


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
    )


def _target_errors(target: Target, where: str | Path) -> list[InputError]:
    place = f"{where}: targets/{target.name}"
    errors = []
    if len(set(target.classes)) < len(target.classes):
        twice = sorted({name for name in target.classes if target.classes.count(name) > 1})
        errors.append(
            InputError(
                "duplicate-class", f"{place}/classes", f"expected each class once, got {twice} twice", "remove it"
            )
        )
    if target.type == "binary" and len(target.classes) != 2:
        errors.append(
            InputError(
                "bad-target",
                f"{place}/classes",
                f"expected two classes (negative, positive) of a binary target, got {len(target.classes)}",
                'use the type "multiclass" or "multilabel"',
            )
        )
    if not target.present_if_label:
        return errors
    allowed = {"binary": target.classes[1:], "multiclass": (), "multilabel": target.classes}[target.type]
    unknown = sorted(set(target.present_if_label) - set(allowed))
    if unknown:
        fault = f"expected only {_listing(allowed)}, got {_listing(unknown)}"
        if target.type == "multiclass":
            fault = "expected a binary or multilabel target, got multiclass"
        errors.append(
            InputError("bad-target", f"{place}/present_if_label", fault, "name classes that mask labels alone can tell")
        )
    return errors


def _case_errors(
    case_id: str, entry: Mapping[str, Any], targets: Mapping[str, Target], where: str | Path
) -> list[InputError]:
    place = f"{where}: cases/{case_id[:80]}"
    errors = []
    fault = case_id_fault(case_id)
    if fault is not None:
        errors.append(InputError("unsafe-case-id", place, fault, "rename the case and its files"))
    labels = [(f"labels/{name}", name, label) for name, label in entry.get("labels", {}).items()]
    for name, slice_labels in entry.get("slices", {}).items():
        labels.extend((f"slices/{name}/{index}", name, label) for index, label in enumerate(slice_labels))
    for key, name, label in labels:
        if name not in targets:
            fault = f"expected one of the targets {_listing(targets)}, got {name!r}"
            errors.append(
                InputError("unknown-target", f"{place}/{key}", fault, "declare it under targets, or correct it")
            )
        elif label is not None:
            problem = _label_fault(targets[name], _label_from_json(label))
            if problem is not None:
                errors.append(InputError("unknown-class", f"{place}/{key}", *problem))
    return errors


def _label_fault(target: Target, label: Label) -> tuple[str, str] | None:
    """Return fault and remedy of a label, or None where the target knows it."""
    if isinstance(label, str) and target.type == "multilabel":
        return f"expected a list of classes (multilabel), got {label!r}", f'write ["{label}"]'
    if not isinstance(label, str) and target.type != "multilabel":
        return f"expected one class ({target.type}), got the list {list(label)}", "name one class, or use multilabel"
    names = (label,) if isinstance(label, str) else label
    unknown = [name for name in names if name not in target.classes]
    if unknown:
        fault = f"expected classes among {_listing(target.classes)}, got {_listing(unknown)}"
        return fault, "correct the label, or declare the class under targets"
    if len(set(names)) < len(names):
        return f"expected each class once, got {list(names)}", "remove the duplicate"
    return None


def _label_from_json(label: str | list[str]) -> Label:
    return label if isinstance(label, str) else tuple(label)


def _label_to_json(label: Label) -> str | list[str]:
    return label if isinstance(label, str) else list(label)


def _listing(names: Any) -> str:
    return ", ".join(repr(name) for name in names)
