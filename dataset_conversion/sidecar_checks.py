"""What the sidecar says, held against images, masks and dataset.json."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.splits import UNKNOWN, class_counts, lacking_classes


def entry_faults(
    sidecar: LabelSidecar, training: Collection[str], test: Collection[str], where: Path
) -> Iterator[InputError]:
    """Yield entries without an image, and training images without an entry; test images need none.

    Args:
        sidecar: its entries.
        training, test: ids of the cases with an image.
        where: the sidecar's file, for messages.
    """
    for case_id in sorted(set(sidecar.cases) - set(training) - set(test)):
        fault = "expected an image in imagesTr or imagesTs, found none"
        yield InputError("missing-image", f"{where}: cases/{case_id}", fault, "add the image, or remove the entry")
    for case_id in sorted(set(training) - set(sidecar.cases)):
        fault = "expected an entry for every training case, found none"
        remedy = 'add its labels, or {"labels": {}} where they are not known'
        yield InputError("case-without-entry", f"{where}: cases/{case_id}", fault, remedy)


def class_faults(sidecar: LabelSidecar, training: Collection[str], where: Path) -> Iterator[InputError]:
    """Yield targets that training would refuse: a class that no training case has, or (multilabel) that all have."""
    counts = class_counts(sidecar, training)
    for name, absent in lacking_classes(sidecar, training).items():
        fault = f"expected training cases of every class, got {counts[name]}"
        if sidecar.targets[name].type == "multilabel":
            fault = f"expected training cases with and without every class, got {counts[name]}"
        remedy = f"add training cases for {', '.join(absent)}, or remove the class from the target"
        yield InputError("one-class", f"{where}: targets/{name}", fault, remedy)


def unknown_label_warnings(sidecar: LabelSidecar, training: Collection[str], where: Path) -> Iterator[InputError]:
    """Yield how many training cases of each target have no known class, where there are any."""
    for name, counts in class_counts(sidecar, training).items():
        if counts[UNKNOWN]:
            fault = f"{counts[UNKNOWN]} of {len(training)} training cases have no known class"
            remedy = "label them, or let the loss leave them out"
            yield InputError("unknown-labels", f"{where}: targets/{name}", fault, remedy)
