"""``worklist.csv``: the cases in the order in which a reader should see them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.csv_files import write_csv
from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import Target

HEADER = ("case_id", "target", "class", "probability", "calibrated", "decision", "foreground_ml", "mask_agreement")
ANY = "any"

Choice = tuple[str, str | None]  # target, and class; None: any class of a multilabel target


def parse_worklist(text: str, targets: Mapping[str, Target]) -> Choice:
    """Return target and class of ``TARGET`` or ``TARGET:CLASS``.

    Without a class, a binary target and one of two exclusive classes mean the second, a multilabel target any of them.

    Raises:
        InputError: an unknown target or class, or several exclusive classes of which none is named.
    """
    name, _, class_name = text.partition(":")
    where = f"--worklist {text}"
    if name not in targets:
        fault = f"expected one of the targets {', '.join(targets)}, got {name}"
        raise InputError("unknown-target", where, fault, "name one of them")
    target = targets[name]
    if class_name and class_name not in target.classes:
        fault = f"expected one of the classes {', '.join(target.classes)}, got {class_name}"
        raise InputError("unknown-class", where, fault, "name one of them")
    if class_name or target.type == "multilabel":
        return name, class_name or None
    if len(target.classes) > 2:
        fault = f"expected the class that sorts, since {name} has {len(target.classes)}, got none"
        raise InputError("missing-class", where, fault, f"write for example --worklist {name}:{target.classes[-1]}")
    return name, target.classes[1]


def default_worklist(targets: Mapping[str, Target]) -> Choice | None:
    """Return what sorts where nobody says so: the first binary or multilabel target, else the first of two classes."""
    for types in (("binary", "multilabel"), ("multiclass",)):
        for name, target in targets.items():
            if target.type in types and (target.type == "multilabel" or len(target.classes) == 2):
                return parse_worklist(name, targets)
    return None


def write_worklist(path: Path, document: Mapping[str, Any], choice: Choice) -> None:
    """Write the cases with the highest probability first; equal ones by their ids.

    Args:
        path: the file.
        document: a ``classification.json``.
        choice: target and class; of any class it is the largest probability.
    """
    name, class_name = choice
    rows = []
    for case_id, case in document["cases"].items():
        record = case["targets"][name]
        probabilities = record["probabilities"]
        probability = max(probabilities.values()) if class_name is None else probabilities[class_name]
        decision = record["decision"]
        measures = case.get("labels", {}).values()
        rows.append(
            (
                case_id,
                name,
                ANY if class_name is None else class_name,
                probability,
                "yes" if record.get("calibrated", False) else "no",
                decision if isinstance(decision, str) else ";".join(decision),
                f"{sum(label['volume_ml'] for label in measures):.4f}" if measures else None,
                agreement_text(record),
            )
        )
    rows.sort(key=lambda row: (-row[3], row[0]))
    write_csv(path, HEADER, [(*row[:3], f"{row[3]:.6f}", *row[4:]) for row in rows])


def agreement_text(record: Mapping[str, Any]) -> str | None:
    """Return ``agrees`` or ``contradicts`` for a table; None where the mask does not tell the target."""
    agreement = record.get("mask_agreement")
    return None if agreement is None else "agrees" if agreement["agrees"] else "contradicts"
