"""Every fault of an nnU-Net raw dataset with class labels, found in one go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_multitask.datasets import list_cases, list_image_channels
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import check_same_geometry, read_image, read_mask
from nnunet_multitask.labels import SIDECAR_NAME, LabelSidecar, read_sidecar
from nnunet_multitask.splits import UNKNOWN, class_counts


@dataclass
class Verification:
    """What was found.

    Args:
        dataset: name of the dataset.
        errors: faults for which the dataset cannot be used.
        warnings: what is odd, in the same form.
        num_training, num_test: cases with an image.
        class_counts: target to class (or ``unknown``) to number of training cases.
    """

    dataset: str
    errors: list[InputError] = field(default_factory=list)
    warnings: list[InputError] = field(default_factory=list)
    num_training: int = 0
    num_test: int = 0
    class_counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            "version": 1,
            "dataset": self.dataset,
            "ok": not self.errors,
            "errors": [_fault_to_json(error) for error in self.errors],
            "warnings": [_fault_to_json(warning) for warning in self.warnings],
            "counts": {"training": self.num_training, "test": self.num_test, "classes": self.class_counts},
        }

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Add the faults that the block raises to ``errors``; the rest of the block is passed over."""
        try:
            yield
        except InputError as error:
            self.errors.append(error)
        except InputErrors as errors:
            self.errors.extend(errors.errors)


def verify_dataset(folder: Path, *, tolerance_mm: float = 1e-3, progress: bool = True) -> Verification:
    """Check a raw dataset.

    Args:
        folder: ``nnUNet_raw/DatasetNNN_NAME``.
        tolerance_mm: how far apart corresponding corners of images and mask of a case may lie.
        progress: show a progress bar.

    Returns:
        Every fault; nothing is raised for a fault of the dataset. Without a readable ``dataset.json`` the images are
        not checked.
    """
    result = Verification(folder.name)
    sidecar: LabelSidecar | None = None
    with result.collecting():
        sidecar = read_sidecar(folder / SIDECAR_NAME)
    document: Mapping[str, Any] = {}
    with result.collecting():
        document = _read_dataset_json(folder / "dataset.json")
    if not document:
        return result
    if document.get("overwrite_image_reader_writer") != "SimpleITKIO":
        fault = 'expected "overwrite_image_reader_writer": "SimpleITKIO", which fixes the order of slices'
        result.warnings.append(InputError("image-reader", folder / "dataset.json", fault, "set it"))
    training = _check_part(folder, "Tr", document, result, tolerance_mm=tolerance_mm, progress=progress)
    test = _check_part(folder, "Ts", document, result, tolerance_mm=tolerance_mm, progress=progress)
    result.num_training, result.num_test = len(training), len(test)
    if document["numTraining"] != len(training):
        fault = f"expected numTraining to be the {len(training)} images of imagesTr, got {document['numTraining']}"
        result.errors.append(InputError("case-count", folder / "dataset.json", fault, "correct the number"))
    for case_id in sorted(training & test):
        fault = f"expected {case_id} in imagesTr or imagesTs, found it in both"
        result.errors.append(InputError("duplicate-case", folder, fault, "remove one"))
    if sidecar is not None:
        result.class_counts = class_counts(sidecar, training)
        _check_sidecar(folder / SIDECAR_NAME, sidecar, training, test, result)
    return result


def _read_dataset_json(path: Path) -> Mapping[str, Any]:
    document = read_json(path)
    wanted = {"channel_names": dict, "labels": dict, "numTraining": int, "file_ending": str}
    bad = [
        key for key, kind in wanted.items() if not isinstance(document, dict) or not isinstance(document.get(key), kind)
    ]
    if bad:
        fault = f"expected channel_names, labels, numTraining and file_ending, got none or a wrong {', '.join(bad)}"
        raise InputError("bad-dataset-json", path, fault, "follow nnU-Net's dataset format")
    return dict(document)


def _check_part(
    folder: Path, part: str, document: Mapping[str, Any], result: Verification, *, tolerance_mm: float, progress: bool
) -> set[str]:
    """Check images and masks of the training (Tr) or test (Ts) cases and return the ids of the images."""
    from tqdm import tqdm

    if part == "Ts" and not (folder / "imagesTs").is_dir():
        return set()
    images: dict[str, list[Path]] = {}
    masks: dict[str, Path] = {}
    ending = document["file_ending"]
    with result.collecting():
        images = list_image_channels(folder / f"images{part}", ending)
    if part == "Tr" or (folder / f"labels{part}").is_dir():
        with result.collecting():
            masks = list_cases(folder / f"labels{part}", ending)
    for case_id in sorted(set(masks) - set(images)):
        fault = f"expected an image {case_id}_0000{ending} in images{part}, found none"
        result.errors.append(InputError("missing-image", masks[case_id], fault, "add the image or remove the mask"))
    allowed = _mask_values(document["labels"])
    for case_id, paths in tqdm(images.items(), desc=f"verify images{part}", unit="case", disable=not progress):
        if len(paths) != len(document["channel_names"]):
            fault = f"expected {len(document['channel_names'])} channels, got {len(paths)}"
            result.errors.append(InputError("missing-channel", paths[0], fault, "add or remove channels"))
        if case_id not in masks and part == "Tr":
            place = folder / "labelsTr" / f"{case_id}{ending}"
            result.errors.append(InputError("missing-mask", place, "expected a mask, found none", "add it"))
        volumes = []
        for path in paths:
            with result.collecting():
                volumes.append(read_image(path))
        if case_id in masks:
            with result.collecting():
                volumes.append(read_mask(masks[case_id], allowed))
        for volume in volumes[1:]:
            with result.collecting():
                check_same_geometry(volumes[0], volume, tolerance_mm)
    return set(images)


def _mask_values(labels: Mapping[str, Any]) -> set[int]:
    """Return the values that masks may hold; regions list several."""
    values: set[int] = {0}
    for value in labels.values():
        values.update(value if isinstance(value, list) else [value])
    return values


def _check_sidecar(path: Path, sidecar: LabelSidecar, training: set[str], test: set[str], result: Verification) -> None:
    for case_id in sorted(set(sidecar.cases) - training - test):
        place = f"{path}: cases/{case_id}"
        result.errors.append(
            InputError(
                "missing-image", place, "expected an image in imagesTr or imagesTs, found none", "add or remove it"
            )
        )
    for case_id in sorted(training - set(sidecar.cases)):
        fault = "expected an entry for every training case, found none"
        remedy = 'add its labels, or {"labels": {}} where they are not known'
        result.errors.append(InputError("case-without-entry", f"{path}: cases/{case_id}", fault, remedy))
    for target, counts in result.class_counts.items():
        known = {name: count for name, count in counts.items() if name != UNKNOWN}
        absent = [name for name, count in known.items() if count == 0]
        # a multilabel class needs cases without it, too
        if sidecar.targets[target].type == "multilabel":
            num_known = len(training) - counts[UNKNOWN]
            absent += [name for name, count in known.items() if 0 < count == num_known]
        if absent:
            fault = f"expected training cases of every class, got {counts}"
            remedy = f"add training cases for {', '.join(absent)}, or remove the class from the target"
            result.errors.append(InputError("one-class", f"{path}: targets/{target}", fault, remedy))
        if counts[UNKNOWN]:
            fault = f"{counts[UNKNOWN]} of {len(training)} training cases have no known class"
            remedy = "label them, or let the loss leave them out"
            result.warnings.append(InputError("unknown-labels", f"{path}: targets/{target}", fault, remedy))
    groups: dict[str, set[str]] = {}
    for case_id, case in sidecar.cases.items():
        if case.group is not None:
            groups.setdefault(case.group, set()).add("training" if case_id in training else "test")
    for group in sorted(group for group, parts in groups.items() if len(parts) > 1):
        fault = f"expected the cases of group {group} on one side, they are training and test cases"
        result.warnings.append(InputError("group-in-both-parts", path, fault, "move them, or say so with the results"))


def _fault_to_json(error: InputError) -> dict[str, str]:
    return {"code": error.code, "where": error.where, "fault": error.fault, "remedy": error.remedy}
