"""Every fault of an nnU-Net raw dataset with class labels, found in one go."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.case_checks import CaseFiles, CaseFindings, Expectations, check_case
from nnunet_multitask.dataset_conversion.contradictions import contradictions, slice_contradictions
from nnunet_multitask.dataset_conversion.dataset_json_checks import (
    IGNORE,
    dataset_json_faults,
    label_values,
    read_dataset_json,
    segments,
)
from nnunet_multitask.dataset_conversion.leakage import fold_faults, read_folds, shared_groups, twin_warnings
from nnunet_multitask.dataset_conversion.sidecar_checks import (
    class_faults,
    entry_faults,
    unknown_label_warnings,
)
from nnunet_multitask.dataset_conversion.verification_counts import count_classes
from nnunet_multitask.datasets import list_cases, list_image_channels, training_images, training_masks
from nnunet_multitask.documents import read_json
from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import (
    SIDECAR_NAME,
    LabelSidecar,
    case_id_fault,
    read_sidecar,
    rule_faults,
    salvage_sidecar,
    slice_count_faults,
)

REPORT_VERSION = 1


@dataclass
class Verification:
    """What was found.

    Args:
        dataset: name of the dataset.
        errors: faults for which the dataset cannot be used.
        warnings: what is odd, in the same form.
        counts: of cases and classes, as ``verification_counts.count_classes`` returns them.
    """

    dataset: str
    errors: list[InputError] = field(default_factory=list)
    warnings: list[InputError] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document that follows the schema ``verification.json``."""
        return {
            "version": REPORT_VERSION,
            "dataset": self.dataset,
            "ok": not self.errors,
            "errors": [_fault_to_json(error) for error in self.errors],
            "warnings": [_fault_to_json(warning) for warning in self.warnings],
            "counts": self.counts,
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


def verify_dataset(
    folder: Path,
    *,
    splits_file: Path | None = None,
    tolerance_mm: float = 1e-3,
    num_workers: int | None = None,
    progress: bool = True,
) -> Verification:
    """Check a raw dataset.

    Args:
        folder: ``nnUNet_raw/DatasetNNN_NAME``.
        splits_file: nnU-Net's splits_final.json, None where there is none.
        tolerance_mm: how far apart corresponding corners of images and mask of a case may lie.
        num_workers: processes, None for one a core.
        progress: show a progress bar.

    Returns:
        Every fault; nothing is raised for a fault of the dataset. Without a readable ``dataset.json`` the images are
        not checked.
    """
    result = Verification(folder.name)
    sidecar, uncertain = _read_sidecar(folder / SIDECAR_NAME, result)
    document: Mapping[str, Any] = {}
    with result.collecting():
        document = read_dataset_json(folder / "dataset.json")
    if not document:
        return result
    result.errors += dataset_json_faults(document, folder / "dataset.json")
    files = [*_training_files(folder, document, result), *_test_files(folder, document, result)]
    labels = label_values(document["labels"])
    expected = Expectations(
        frozenset({0}.union(*labels.values())),
        labels[IGNORE][0] if IGNORE in labels else None,
        tuple(document["channel_names"].values()),
        tolerance_mm,
    )
    findings = list(
        map_in_order(
            partial(check_case, expected=expected),
            files,
            num_workers=num_workers,
            description=f"verify {folder.name}",
            progress=progress,
        )
    )
    for found in findings:
        result.errors += found.errors
        result.warnings += found.warnings
    training = {case.case_id for case in files if case.part == "training"}
    test = {case.case_id for case in files if case.part == "test"}
    _check_cases(folder, document, training, test, result)
    result.warnings += twin_warnings(findings)
    if sidecar is not None:
        _check_sidecar(folder / SIDECAR_NAME, sidecar, uncertain, labels, findings, result)
    if splits_file is not None:
        with result.collecting():
            folds = read_folds(splits_file)
            errors, warnings = fold_faults(splits_file, folds, training, sidecar, findings, folder.name, uncertain)
            result.errors += errors
            result.warnings += warnings
    result.counts = count_classes(sidecar, findings, labels)
    return result


def _read_sidecar(path: Path, result: Verification) -> tuple[LabelSidecar | None, frozenset[str]]:
    """Return the sidecar, or what is sound in it and the targets that lost labels; None where nothing can be used."""
    try:
        return read_sidecar(path), frozenset()
    except InputError as error:
        result.errors.append(error)
        return None, frozenset()
    except InputErrors as errors:
        result.errors += errors.errors
        return salvage_sidecar(read_json(path)) or (None, frozenset())


def _training_files(folder: Path, document: Mapping[str, Any], result: Verification) -> list[CaseFiles]:
    images: dict[str, list[Path]] = {}
    masks: dict[str, Path] = {}
    with result.collecting():
        images = training_images(folder, document)
    with result.collecting():
        masks = training_masks(folder, document)
    for case_id in sorted(set(images) - set(masks)):
        place = folder / "labelsTr" / f"{case_id}{document['file_ending']}"
        remedy = "add it; a case without mask needs one of the ignore label everywhere"
        result.errors.append(InputError("missing-mask", place, "expected a mask, found none", remedy))
    _check_names(folder, "Tr", document, result)
    return _case_files("training", "imagesTr", images, masks, document, result)


def _test_files(folder: Path, document: Mapping[str, Any], result: Verification) -> list[CaseFiles]:
    images: dict[str, list[Path]] = {}
    masks: dict[str, Path] = {}
    if (folder / "imagesTs").is_dir():
        with result.collecting():
            images = list_image_channels(folder / "imagesTs", document["file_ending"])
    if (folder / "labelsTs").is_dir():
        with result.collecting():
            masks = list_cases(folder / "labelsTs", document["file_ending"])
    _check_names(folder, "Ts", document, result)
    return _case_files("test", "imagesTs", images, masks, document, result)


def _case_files(
    part: str,
    image_folder: str,
    images: Mapping[str, list[Path]],
    masks: Mapping[str, Path],
    document: Mapping[str, Any],
    result: Verification,
) -> list[CaseFiles]:
    """Pair images and masks; add what has no partner, and ids that cannot be part of a file name, to the errors."""
    for case_id in sorted(set(masks) - set(images)):
        fault = f"expected an image {case_id}_0000{document['file_ending']} in {image_folder}, found none"
        result.errors.append(InputError("missing-image", masks[case_id], fault, "add the image or remove the mask"))
    num_channels = len(document["channel_names"])
    for case_id, paths in images.items():
        if len(paths) != num_channels:
            fault = f"expected {num_channels} channels, got {len(paths)}"
            result.errors.append(InputError("missing-channel", paths[0], fault, "add or remove channels"))
        fault_of_id = case_id_fault(case_id)
        if fault_of_id is not None:
            result.errors.append(InputError("unsafe-case-id", paths[0], fault_of_id, "rename the case and its files"))
    return [CaseFiles(case_id, part, tuple(paths), masks.get(case_id)) for case_id, paths in images.items()]


def _check_names(folder: Path, part: str, document: Mapping[str, Any], result: Verification) -> None:
    """Warn of files that nnU-Net passes over because of their ending."""
    for name in (f"images{part}", f"labels{part}"):
        if "dataset" in document or not (folder / name).is_dir():
            continue
        others = [p for p in (folder / name).iterdir() if not p.name.endswith(document["file_ending"])]
        for path in sorted(path for path in others if not path.name.startswith(".")):
            fault = f"expected files ending in {document['file_ending']}, got another, which nnU-Net passes over"
            result.warnings.append(InputError("ignored-file", path, fault, "convert or remove it"))


def _check_cases(
    folder: Path, document: Mapping[str, Any], training: Collection[str], test: Collection[str], result: Verification
) -> None:
    if document.get("overwrite_image_reader_writer") != "SimpleITKIO":
        fault = 'expected "overwrite_image_reader_writer": "SimpleITKIO", which fixes the order of slices'
        result.warnings.append(InputError("image-reader", folder / "dataset.json", fault, "set it"))
    if document["numTraining"] != len(training):
        fault = f"expected numTraining to be the {len(training)} images of imagesTr, got {document['numTraining']}"
        result.errors.append(InputError("case-count", folder / "dataset.json", fault, "correct the number"))
    for case_id in sorted(set(training) & set(test)):
        fault = f"expected {case_id} in imagesTr or imagesTs, found it in both"
        result.errors.append(InputError("duplicate-case", folder, fault, "remove one"))


def _check_sidecar(
    path: Path,
    sidecar: LabelSidecar,
    uncertain: Collection[str],
    labels: Mapping[str, tuple[int, ...]],
    findings: Collection[CaseFindings],
    result: Verification,
) -> None:
    """Hold the sidecar against everything else; nothing is said of the counts of targets that are ``uncertain``."""
    training = {found.files.case_id for found in findings if found.files.part == "training"}
    test = {found.files.case_id for found in findings if found.files.part == "test"}
    masks = {found.files.case_id: found.mask for found in findings if found.mask is not None}
    result.errors += entry_faults(sidecar, training, test, path)
    result.errors += rule_faults(sidecar.targets.values(), segments(labels).values(), path)
    num_slices = {found.files.case_id: found.num_slices for found in findings if found.num_slices is not None}
    result.errors += slice_count_faults(sidecar, num_slices, path)
    counted = {name: target for name, target in sidecar.targets.items() if name not in uncertain}
    result.errors += class_faults(replace(sidecar, targets=counted), training, path)
    result.warnings += unknown_label_warnings(replace(sidecar, targets=counted), training, path)
    result.warnings += contradictions(sidecar, masks, path)
    result.warnings += slice_contradictions(sidecar, path)
    result.warnings += shared_groups(sidecar, training, test, path)


def _fault_to_json(error: InputError) -> dict[str, str]:
    return {"code": error.code, "where": error.where, "fault": error.fault, "remedy": error.remedy}
