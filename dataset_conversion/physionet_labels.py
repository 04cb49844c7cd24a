"""What the tables of PhysioNet CT-ICH say, in the words of the sidecar: targets, labels of scans, slices and voxels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.dataset_conversion.physionet_tables import KINDS, SliceLabels
from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import Label, Target

IGNORE_VALUE = len(KINDS) + 1

# --labels: nnU-Net's labels
LABELS: Mapping[str, Mapping[str, int]] = {
    "binary": {"hemorrhage": 1},
    "subtype": {**{kind: value for value, kind in enumerate(KINDS, start=1)}, "ignore": IGNORE_VALUE},
}
ICH = Target("ich", "binary", ("no_hemorrhage", "hemorrhage"), "any hemorrhage inside the skull")
FINDINGS = Target(
    "findings",
    "multilabel",
    KINDS,
    "kinds of hemorrhage: intraventricular, intraparenchymal, subarachnoid, epidural, subdural",
)
FRACTURE = Target("fracture", "binary", ("no_fracture", "fracture"), "fracture of the skull")


def make_targets(labels: str, with_ich: bool = True) -> dict[str, Target]:
    """Return the targets of the sidecar, tied to the mask labels that mean them.

    Args:
        labels: of ``LABELS``.
        with_ich: False where every case has hemorrhage, so that there is nothing to tell apart.

    Raises:
        InputError: another name.
    """
    if labels not in LABELS:
        raise InputError("unknown-labels", "labels", f"expected {' or '.join(LABELS)}, got {labels!r}", "choose one")
    values = {name: value for name, value in LABELS[labels].items() if name != "ignore"}
    ich = replace(ICH, present_if_label={ICH.classes[1]: tuple(values.values())})
    findings = FINDINGS
    if labels == "subtype":
        findings = replace(FINDINGS, present_if_label={kind: (value,) for kind, value in values.items()})
    return {target.name: target for target in ((ich,) if with_ich else ()) + (findings, FRACTURE)}


def kinds_of(slices: Iterable[SliceLabels]) -> frozenset[str]:
    """Return the kinds of hemorrhage on any of the slices."""
    return frozenset(kind for labels in slices for kind in labels.kinds)


def scan_labels(slices: Mapping[int, SliceLabels]) -> dict[str, Label]:
    """Return the labels of a scan by those of its slices; no slice gives no label."""
    if not slices:
        return {}
    kinds = kinds_of(slices.values())
    return {
        ICH.name: ICH.classes[bool(kinds)],
        FINDINGS.name: tuple(kind for kind in KINDS if kind in kinds),
        FRACTURE.name: FRACTURE.classes[any(labels.fracture for labels in slices.values())],
    }


def slice_labels(slices: Sequence[SliceLabels | None]) -> dict[str, tuple[Label | None, ...]]:
    """Return for each target the label of every slice, in the order given; None where a slice is unknown."""
    return {
        ICH.name: tuple(None if item is None else ICH.classes[bool(item.kinds)] for item in slices),
        FINDINGS.name: tuple(None if item is None else item.kinds for item in slices),
        FRACTURE.name: tuple(None if item is None else FRACTURE.classes[item.fracture] for item in slices),
    }


def kinds_of_voxels(mask: npt.NDArray[Any], slices: Sequence[SliceLabels | None]) -> npt.NDArray[np.uint8]:
    """Return the mask of ``--labels subtype``.

    The masks do not tell the kinds apart, the table does so by slice: on a slice with one kind, blood is of that kind;
    on a slice with several, or with none, nobody said of which kind a voxel is, and it is ignored. Background is known
    everywhere.

    Args:
        mask: (Z, Y, X), above 0 where blood is.
        slices: labels of the Z slices.

    Returns:
        (Z, Y, X), 0, the place of the kind in ``KINDS`` counted from 1, or ``IGNORE_VALUE``.
    """
    values = [
        KINDS.index(item.kinds[0]) + 1 if item is not None and len(item.kinds) == 1 else IGNORE_VALUE for item in slices
    ]
    return (mask > 0).astype(np.uint8) * np.array(values, np.uint8)[:, None, None]
