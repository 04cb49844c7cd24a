"""The same patient or the same image on two sides: training and test, training and validation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.case_checks import CaseFindings
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.splits import groups_on_both_sides, lacking_classes, lacking_remedy

Fold = Mapping[str, Sequence[str]]

_NAMED = 10


def shared_groups(
    sidecar: LabelSidecar, training: Collection[str], test: Collection[str], where: Path
) -> Iterator[InputError]:
    """Yield a warning for each group (patient) that has training and test cases."""
    sides = {
        "train": sorted(set(training) - set(test)),
        "val": sorted(test),
    }  # a case on both sides is an error already
    for group in groups_on_both_sides(sidecar, sides):
        members = [
            c for c in (*sides["train"], *sides["val"]) if c in sidecar.cases and sidecar.cases[c].group == group
        ]
        fault = f"expected the cases of group {group} on one side, {_some(members)} are training and test cases"
        yield InputError("group-in-both-parts", where, fault, "move them, or say so with the results")


def twins(findings: Collection[CaseFindings]) -> list[list[CaseFindings]]:
    """Return the cases that hold the same image, in groups of two at least, in the order of the cases."""
    by_digest: dict[str, list[CaseFindings]] = {}
    for found in findings:
        if found.voxel_digest is not None:
            by_digest.setdefault(found.voxel_digest, []).append(found)
    return [cases for cases in by_digest.values() if len(cases) > 1]


def twin_warnings(findings: Collection[CaseFindings]) -> Iterator[InputError]:
    """Yield a warning for each image that occurs more than once, on one side or on both."""
    for cases in twins(findings):
        parts = {found.files.part for found in cases}
        names = _some([found.files.case_id for found in cases])
        how = "the same file" if len({found.file_digests for found in cases}) == 1 else "the same voxels"
        fault = f"expected every image once, got {how} as {names}"
        if len(parts) > 1:
            fault += ", in training and test"
            yield InputError("image-in-both-parts", cases[0].files.images[0], fault, "remove it from one of them")
        else:
            yield InputError("duplicate-image", cases[0].files.images[0], fault, "remove all but one")


def read_folds(path: Path) -> list[Fold]:
    """Read nnU-Net's splits_final.json.

    Raises:
        InputError: no such file, no JSON, or no list of ``{"train": [...], "val": [...]}``.
    """
    document = read_json(path)
    if not isinstance(document, list) or not all(_is_fold(fold) for fold in document):
        fault = 'expected a list of {"train": [...], "val": [...]} with case ids, got something else'
        raise InputError("bad-splits", path, fault, "write it with `nnunet-multitask split`")
    return document


def fold_faults(
    path: Path,
    folds: Sequence[Fold],
    training: Collection[str],
    sidecar: LabelSidecar | None,
    findings: Collection[CaseFindings],
    dataset: str = "DATASET",
    uncertain: Collection[str] = (),
) -> tuple[list[InputError], list[InputError]]:
    """Return errors and warnings of the folds that training will take.

    Args:
        path: of splits_final.json, for messages.
        folds: what it holds.
        training: ids of the training cases.
        sidecar: groups and classes; None where it cannot be read.
        findings: of all cases, for images that occur twice.
        dataset: its name or id, for remedies.
        uncertain: targets that lost labels, of which nothing can be counted.
    """
    errors: list[InputError] = []
    warnings: list[InputError] = []
    split_up = f"make folds of whole patients: `nnunet-multitask split {dataset} --overwrite`"
    again = f"nnunet-multitask split {dataset} --overwrite"
    same_image = [[found.files.case_id for found in cases] for cases in twins(findings)]
    lacking_at_all = {} if sidecar is None else lacking_classes(sidecar, training)
    for index, fold in enumerate(folds):
        place = f"{path}: fold {index}"
        train, val = set(fold["train"]), set(fold["val"])
        if unknown := sorted((train | val) - set(training)):
            fault = f"expected training cases, got {_some(unknown)} without image in imagesTr"
            errors.append(InputError("unknown-case", place, fault, f"write the folds anew: `{again}`"))
        if both := sorted(train & val):
            fault = f"expected every case on one side, got {_some(both)} in training and validation"
            errors.append(InputError("leaking-case", place, fault, split_up))
        for cases in same_image:
            if (here := sorted(train & set(cases))) and (there := sorted(val & set(cases))) and here != there:
                fault = f"expected every image on one side, got {_some(here)} in training and {_some(there)} in "
                errors.append(InputError("leaking-image", place, f"{fault}validation", "remove one of them"))
        if sidecar is None:
            continue
        if groups := groups_on_both_sides(sidecar, fold):
            fault = f"expected every patient on one side, got {_some(groups)} in training and validation"
            errors.append(InputError("leaking-group", place, fault, split_up))
        for part, side, found, then, remedy in (
            ("train", "training", errors, "training is refused", lacking_remedy("train")),
            ("val", "validation", warnings, "its AUC is null", lacking_remedy("val")),
        ):
            for name, classes in lacking_classes(sidecar, fold[part]).items():
                absent = [label for label in classes if label not in lacking_at_all.get(name, ())]
                if absent and name not in uncertain:
                    fault = f"expected {side} cases with and without {_some(absent)}, got but one kind: {then}"
                    found.append(InputError(f"class-without-{side}", f"{place}: targets/{name}", fault, remedy))
    return errors, warnings


def _is_fold(fold: Any) -> bool:
    return isinstance(fold, dict) and all(
        isinstance(fold.get(part), list) and all(isinstance(case_id, str) for case_id in fold[part])
        for part in ("train", "val")
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
