"""Targets of classification: what is asked of every case, the possible answers, and what a label must look like."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nnunet_multitask.documents import check_schema
from nnunet_multitask.errors import InputError, InputErrors

TargetType = Literal["binary", "multiclass", "multilabel"]
Label = str | tuple[str, ...]

SIDECAR_VERSION = 1
DEFAULT_MIN_VOXELS = 10
UNKNOWN_CLASS = "unknown"


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
    min_voxels: int = DEFAULT_MIN_VOXELS

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
        fault = label_fault(self, label)
        if fault is not None:
            raise InputError("unknown-class", f"target {self.name}", *fault)
        if self.type == "multilabel":
            return tuple(int(name in label) for name in self.classes)
        return (self.classes.index(str(label)),)

    def present_classes(self, label: Label) -> tuple[str, ...]:
        """Return the classes that a known label affirms: none for the negative class of a binary target."""
        if self.type == "multilabel":
            return tuple(label)
        return () if self.type == "binary" and label == self.classes[0] else (str(label),)

    def to_json(self) -> dict[str, Any]:
        """Return the target as it stands in the sidecar and in the plans, without its name."""
        document: dict[str, Any] = {"type": self.type, "classes": list(self.classes)}
        if self.description:
            document["description"] = self.description
        if self.present_if_label:
            document["present_if_label"] = {name: list(labels) for name, labels in self.present_if_label.items()}
        if self.present_if_label or self.min_voxels != DEFAULT_MIN_VOXELS:
            document["min_voxels"] = self.min_voxels
        return document

    @classmethod
    def from_json(cls, name: str, document: Mapping[str, Any], where: str | Path) -> Target:
        """Return the target that ``to_json`` wrote.

        Raises:
            InputErrors: every fault of shape or meaning, each with ``where`` and its place.
        """
        check_schema({"version": SIDECAR_VERSION, "targets": {name: document}, "cases": {}}, "class_labels.json", where)
        target = parse_target(name, document)
        errors = target_faults(target, where)
        if errors:
            raise InputErrors(errors)
        return target


def parse_target(name: str, document: Mapping[str, Any]) -> Target:
    """Return the target of a document that follows the schema; its meaning is not checked."""
    return Target(
        name=name,
        type=document["type"],
        classes=tuple(document["classes"]),
        description=document.get("description", ""),
        # to JSON Schema 1.0 is an integer, too
        present_if_label={
            key: tuple(int(value) for value in labels) for key, labels in document.get("present_if_label", {}).items()
        },
        min_voxels=int(document.get("min_voxels", DEFAULT_MIN_VOXELS)),
    )


def target_faults(target: Target, where: str | Path) -> list[InputError]:
    """Return what contradicts itself in a target: classes twice, a binary one of three, rules that cannot be.

    Args:
        target: it follows the schema.
        where: the file, for messages.
    """
    place = f"{where}: targets/{target.name}"
    errors = []
    if len(set(target.classes)) < len(target.classes):
        twice = sorted({name for name in target.classes if target.classes.count(name) > 1})
        fault = f"expected each class once, got {twice} twice"
        errors.append(InputError("duplicate-class", f"{place}/classes", fault, "remove it"))
    if UNKNOWN_CLASS in target.classes:
        fault = f"expected classes of which none is called {UNKNOWN_CLASS!r}, under which unknown labels are counted"
        errors.append(InputError("bad-target", f"{place}/classes", fault, "leave such labels out, or write null"))
    if target.type == "binary" and len(target.classes) != 2:
        fault = f"expected two classes (negative, positive) of a binary target, got {len(target.classes)}"
        remedy = 'use the type "multiclass" or "multilabel"'
        errors.append(InputError("bad-target", f"{place}/classes", fault, remedy))
    if not target.present_if_label:
        if target.min_voxels != DEFAULT_MIN_VOXELS:
            fault = "expected present_if_label beside min_voxels, got none"
            errors.append(InputError("bad-target", f"{place}/min_voxels", fault, "add the rule, or remove the number"))
        return errors
    allowed = {"binary": target.classes[1:], "multiclass": (), "multilabel": target.classes}[target.type]
    unknown = sorted(set(target.present_if_label) - set(allowed))
    if unknown:
        fault = f"expected only {listing(allowed)}, got {listing(unknown)}"
        if target.type == "multiclass":
            fault = "expected a binary or multilabel target, got multiclass"
        remedy = "name classes that mask labels alone can tell"
        errors.append(InputError("bad-target", f"{place}/present_if_label", fault, remedy))
    return errors


def rule_faults(targets: Iterable[Target], segments: Collection[Sequence[int]], where: str | Path) -> list[InputError]:
    """Return rules ``present_if_label`` that no mask can meet: every patch would be told that the class is absent.

    With regions a rule must name the labels of one of them, since a network predicts regions and not the labels inside.

    Args:
        targets: those with the rules.
        segments: the mask values of each label or region of dataset.json, without background and ignore label; a
            region has several, and one of them makes all of them regions.
        where: the sidecar's file, for messages.
    """
    known = sorted({value for values in segments for value in values})
    regions = [sorted(set(values)) for values in segments] if has_regions(segments) else None
    errors = []
    for target in targets:
        for name, values in target.present_if_label.items():
            place = f"{where}: targets/{target.name}/present_if_label/{name}"
            if unknown := sorted(set(values) - set(known)):
                fault = f"expected mask labels among {known}, got {unknown}"
                remedy = "correct the rule or the labels of dataset.json"
                errors.append(InputError("unknown-mask-label", place, fault, remedy))
            elif regions is not None and sorted(set(values)) not in regions:
                fault = f"expected the labels of one region, {' or '.join(map(str, regions))}, got {sorted(values)}"
                remedy = "name a region's labels, or declare the region in dataset.json"
                errors.append(InputError("rule-without-region", place, fault, remedy))
    return errors


def has_regions(segments: Iterable[Sequence[int]]) -> bool:
    """Say whether nnU-Net takes labels for regions, which may overlap: where one of them has several mask values."""
    return any(len(values) > 1 for values in segments)


def label_fault(target: Target, label: Label) -> tuple[str, str] | None:
    """Return fault and remedy of a label, or None where the target knows it."""
    if isinstance(label, str) and target.type == "multilabel":
        return f"expected a list of classes (multilabel), got {label!r}", f'write ["{label}"]'
    if not isinstance(label, str) and target.type != "multilabel":
        return f"expected one class ({target.type}), got the list {list(label)}", "name one class, or use multilabel"
    names = (label,) if isinstance(label, str) else label
    unknown = [name for name in names if name not in target.classes]
    if unknown:
        fault = f"expected classes among {listing(target.classes)}, got {listing(unknown)}"
        return fault, _nearest(unknown, target.classes) or "correct the label, or declare the class under targets"
    if len(set(names)) < len(names):
        return f"expected each class once, got {list(names)}", "remove the duplicate"
    return None


def listing(names: Iterable[str]) -> str:
    """Return names for a message, quoted, so that a blank at the end shows."""
    return ", ".join(repr(name) for name in names)


def _nearest(unknown: Iterable[str], classes: Iterable[str]) -> str:
    """Return the questions "did you mean" for those names that are nearly a class."""
    plain = {"".join(name.split()).casefold(): name for name in classes}
    guesses = {name: difflib.get_close_matches("".join(name.split()).casefold(), plain, 1, 0.8) for name in unknown}
    return " ".join(f"{name!r}: did you mean {plain[near[0]]!r}?" for name, near in guesses.items() if near)
