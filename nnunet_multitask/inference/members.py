"""The members of an ensemble: folders of predictions, looked at before anything is joined."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_multitask.documents import check_schema, read_json
from nnunet_multitask.errors import InputError, InputErrors, collecting
from nnunet_multitask.files import ENDINGS, check_same_geometry, read_mask
from nnunet_multitask.inference.records import CLASSIFICATION_JSON

DATASET_JSON = "dataset.json"
PLANS_JSON = "plans.json"
PROBABILITIES = ".npz"
PROPERTIES = ".pkl"  # beside the probabilities; nnU-Net's function reads the geometry from it
_LABEL_KEYS = ("labels", "regions_class_order", "file_ending")


@dataclass(frozen=True)
class Member:
    """A folder of predictions.

    Attributes:
        folder: with masks, and probabilities where it segments.
        dataset_json: its ``dataset.json``.
        document: its ``classification.json``; None of a stock model, which takes part in the masks alone.
        segments: False of a model that only classifies, which takes part in the classes alone.
    """

    folder: Path
    dataset_json: dict[str, Any]
    document: dict[str, Any] | None
    segments: bool

    @property
    def case_ids(self) -> set[str]:
        """The cases: those of the classification, else those with probabilities."""
        if self.document is not None:
            return set(self.document["cases"])
        return self.cases_with_probabilities

    @property
    def cases_with_probabilities(self) -> set[str]:
        """The cases whose mask has its probabilities beside it."""
        return {path.name.removesuffix(PROBABILITIES) for path in self.folder.glob(f"*{PROBABILITIES}")}


def read_members(folders: Sequence[Path], stock: Sequence[Path] = ()) -> list[Member]:
    """Read the folders of an ensemble and refuse what cannot be joined.

    Args:
        folders: of `nnunet-multitask predict`.
        stock: of `nnUNetv2_predict`: these take part in the masks alone.

    Returns:
        The members, those with classes first.

    Raises:
        InputErrors: a folder twice, a missing file, no probabilities, other targets, classes, labels, cases or
            geometries than the first folder's, some calibrated and some not; none or one that segments.
    """
    errors: list[InputError] = []
    members: list[Member] = []
    for folder, with_classes in [*((f, True) for f in folders), *((f, False) for f in stock)]:
        with collecting(errors):
            members.append(_read(folder, with_classes))
    places = [member.folder.resolve() for member in members]
    for place in dict.fromkeys(place for place in places if places.count(place) > 1):
        errors.append(InputError("given-twice", place, "expected each folder once, got it twice", "name it once"))
    if not errors and not any(member.segments for member in members):
        fault = "expected a member that segments, got models that only classify"
        errors.append(InputError("no-masks", folders[0], fault, "add a model that segments"))
    for member in members[1:] if not errors else ():
        with collecting(errors):
            _compare(members[0], member)
    if not errors:
        errors += _case_faults(members)
    if errors:
        raise InputErrors(errors)
    return members


def _read(folder: Path, with_classes: bool) -> Member:
    path = folder / CLASSIFICATION_JSON
    remedy = "predict it with `nnunet-multitask predict --save_probabilities`"
    if with_classes and not path.is_file():
        fault = f"expected {CLASSIFICATION_JSON}, as `nnunet-multitask predict` writes it, got none"
        stock = "; masks of nnUNetv2_predict take part in the masks alone with --stock"
        raise InputError("no-classification", folder, fault, remedy + stock)
    dataset_json = read_json(folder / DATASET_JSON)
    read_json(folder / PLANS_JSON)  # nnU-Net writes it, too; without it nobody knows how to write a mask
    if not with_classes:
        member = Member(folder, dataset_json, None, True)
        if not member.cases_with_probabilities:
            fault = f"expected probabilities ({PROBABILITIES}) of each case, got none"
            raise InputError("no-probabilities", folder, fault, "predict it with nnUNetv2_predict --save_probabilities")
        return member
    document = read_json(path)
    check_schema(document, CLASSIFICATION_JSON, path)
    if not document["cases"]:
        raise InputError("no-cases", path, "expected predicted cases, got none", remedy)
    segments = any(case.get("labels") for case in document["cases"].values())
    member = Member(folder, dataset_json, document, segments)
    without = sorted(member.case_ids - member.cases_with_probabilities) if segments else []
    if without:
        named = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
        fault = f"expected probabilities ({PROBABILITIES}) of each case, got none of {named}"
        raise InputError("no-probabilities", folder, fault, remedy)
    return member


def _compare(first: Member, member: Member) -> None:
    """Refuse a member of another task, or of other cases, than the first one."""
    errors = []
    for key in _LABEL_KEYS:
        ours, theirs = member.dataset_json.get(key), first.dataset_json.get(key)
        if ours != theirs:
            fault = f"expected {key} {theirs} as in {first.folder}, got {ours}"
            remedy = "join models of the same data set"
            errors.append(InputError("labels-differ", member.folder / DATASET_JSON, fault, remedy))
    if member.case_ids != first.case_ids:
        other = sorted(member.case_ids ^ first.case_ids)
        fault = f"expected the cases of {first.folder}, got others: {', '.join(other[:5])}"
        remedy = "predict the same images with every model"
        errors.append(InputError("cases-differ", member.folder, fault, remedy))
    if member.document is not None and first.document is not None:
        path = member.folder / CLASSIFICATION_JSON
        ours, theirs = member.document["targets"], first.document["targets"]
        if ours != theirs:
            fault = f"expected the targets {_shown(theirs)} of {first.folder}, got {_shown(ours)}"
            errors.append(InputError("targets-differ", path, fault, "join models of the same targets"))
        elif _calibrated(member.document) != _calibrated(first.document):
            fault = f"expected probabilities as those of {first.folder}, got calibrated ones beside uncalibrated ones"
            remedy = "predict each with its calibration, or all with --no-calibration"
            errors.append(InputError("calibration-differs", path, fault, remedy))
    if errors:
        raise InputErrors(errors)


def _case_faults(members: Sequence[Member]) -> Iterator[InputError]:
    """Yield every case whose masks or probabilities do not lie on the same voxels, or that cannot be read."""
    first, *others = [member for member in members if member.segments]
    extra = sorted({case for m in (first, *others) for case in m.cases_with_probabilities} - first.case_ids)
    if extra:
        fault = f"expected probabilities of the predicted cases alone, got some of {', '.join(extra[:5])}"
        yield InputError("cases-differ", first.folder, fault, "remove what is left of another prediction")
    ending = first.dataset_json["file_ending"]
    for case_id in sorted(first.case_ids):
        errors: list[InputError] = []
        with collecting(errors):
            reference = _shape(first.folder / f"{case_id}{PROBABILITIES}")
            mask = read_mask(first.folder / f"{case_id}{ending}") if ending.endswith(ENDINGS) else None
            for member in others:
                path = member.folder / f"{case_id}{PROBABILITIES}"
                if _shape(path) != reference:
                    fault = f"expected the shape {reference} of {first.folder}, got {_shape(path)}"
                    raise InputError("geometry-differs", path, fault, "predict the same image with every model")
                if mask is not None:
                    check_same_geometry(mask, read_mask(member.folder / f"{case_id}{ending}"))
        yield from errors


def _shape(path: Path) -> tuple[int, ...]:
    """Return the shape of probabilities, (K, Z, Y, X), without unpacking them."""
    if not path.with_suffix(PROPERTIES).is_file():
        fault = "expected the properties that nnU-Net writes beside the probabilities, got none"
        raise InputError("missing-file", path.with_suffix(PROPERTIES), fault, "predict the case again")
    try:
        with zipfile.ZipFile(path) as archive, archive.open("probabilities.npy") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape: tuple[int, ...] = read(file)[0]
            return shape
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        fault = f"expected probabilities as nnU-Net writes them, got: {error}"
        raise InputError("damaged-probabilities", path, fault, "predict the case again") from error


def _calibrated(document: dict[str, Any]) -> dict[str, bool]:
    """Return by target whether all of its probabilities are calibrated, and refuse some of them."""
    return {
        name: all(case["targets"][name].get("calibrated", False) for case in document["cases"].values())
        for name in document["targets"]
    }


def _shown(targets: dict[str, Any]) -> str:
    return "; ".join(f"{name} ({entry['type']}: {', '.join(entry['classes'])})" for name, entry in targets.items())
