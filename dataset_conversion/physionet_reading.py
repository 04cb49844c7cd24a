"""Reading one scan of PhysioNet CT-ICH 1.3.x with its mask, and what the reading of every release shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_multitask.dataset_conversion.physionet_labels import kinds_of_voxels, slice_labels
from nnunet_multitask.dataset_conversion.physionet_layout import check_digest
from nnunet_multitask.dataset_conversion.physionet_tables import SliceLabels
from nnunet_multitask.dataset_conversion.sources import LoadedCase, SourceCase
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import Volume, check_same_geometry, count_values, read_image, read_mask
from nnunet_multitask.labels import Case

_SHOWN = 8  # slices that a message lists


@dataclass(frozen=True)
class PhysionetReader:
    """What both layouts share: how slices are labelled, and what the mask means.

    Args:
        slices: slice number to labels, from the table of slices; empty where it does not name the patient.
        targets: names of the targets that the dataset has.
        subtype: blood gets the label of its kind, see ``kinds_of_voxels``.
        checksums: SHA-256 of files as they were published, where known.
    """

    slices: Mapping[int, SliceLabels]
    targets: Sequence[str]
    subtype: bool = False
    checksums: Mapping[Path, str] = field(default_factory=dict)

    def finish(
        self, case: SourceCase, mask: Volume | None, numbers: Sequence[int]
    ) -> tuple[Case, Volume | None, list[str]]:
        """Return the case with the labels of its slices, the mask with the dataset's labels, and what is odd.

        Args:
            case: the case.
            mask: 1 where blood is, or None.
            numbers: slice number of each slice of the array.
        """
        warnings = _row_warnings(case.case_id, numbers, self.slices)
        labels = [self.slices.get(number) for number in numbers]
        if mask is not None:
            bleeding = np.asarray(mask.array.any(axis=(1, 2)))
            warnings += _mask_warnings(case.case_id, numbers, labels, bleeding) if self.slices else []
            if self.subtype:
                mask = replace(mask, array=kinds_of_voxels(mask.array, labels), changed=True)
        slices = {name: values for name, values in slice_labels(labels).items() if name in self.targets}
        return replace(case.case, slices=slices if self.slices else {}), mask, warnings


class NiftiReader(PhysionetReader):
    """Reads ``ct_scans/PPP.nii`` and ``masks/PPP.nii`` of 1.3.x."""

    def __call__(self, case: SourceCase) -> LoadedCase:
        """Read image and mask; 255 in the mask becomes 1.

        Raises:
            InputError, InputErrors: a damaged or changed file, slices that do not run upwards, other mask values.
        """
        errors = []
        volumes: list[Volume] = []
        for path, read in ((case.images[0], read_image), (case.mask, read_mask)):
            if path is None:
                continue
            try:
                volume = read(path)
                volumes.append(volume)
                check_digest(path, volume.sha256, self.checksums)
            except InputError as error:
                errors.append(error)
        if errors:
            raise InputErrors(errors)
        image = volumes[0]
        if image.affine[2, 2] <= 0:
            fault = "expected slices from the skull base upwards, as published, got them downwards"
            raise InputError("slice-order", image.path, fault, "take the file as it was published")
        mask = None
        if len(volumes) > 1:
            mask = _binary(volumes[1])
            check_same_geometry(image, mask, tolerance_mm=np.inf)  # of shapes; the writer looks at the rest
        numbers = range(1, len(image.array) + 1)
        labels, mask, warnings = self.finish(case, mask, numbers)
        inputs = {volume.path: volume.sha256 for volume in volumes}
        return LoadedCase((image,), mask, inputs, warnings=tuple(warnings), case=labels)


def _binary(mask: Volume) -> Volume:
    """Return the mask with 1 in place of 255."""
    counts = count_values(mask.array)
    if set(counts) <= {0, 1}:  # empty, or already what nnU-Net wants
        return mask
    if not set(counts) <= {0, 255}:
        found = ", ".join(f"{value} ({count} voxels)" for value, count in counts.items() if value not in (0, 255))
        fault = f"expected the values 0 and 255, got {found}"
        raise InputError("unknown-mask-value", mask.path, fault, "take the file as it was published")
    return replace(mask, array=(mask.array == 255).astype(np.uint8), changed=True)


def _row_warnings(case_id: str, numbers: Sequence[int], slices: Mapping[int, SliceLabels]) -> list[str]:
    """Say which slices have no row and which rows no slice; nothing where the table does not name the patient."""
    without_row = sorted(set(numbers) - set(slices))
    without_slice = sorted(set(slices) - set(numbers))
    if not slices or not (without_row or without_slice):
        return []
    fault = f"expected a row of the table for each of the {len(numbers)} slices, got {len(slices)} rows"
    if without_row:
        fault += f"; slices without row: {listed_slices(without_row)}, their labels are unknown"
    if without_slice:
        fault += f"; rows without slice: {listed_slices(without_slice)}"
    return [str(InputError("slice-count", case_id, fault, "look whether scan and table belong together"))]


def _mask_warnings(
    case_id: str, numbers: Sequence[int], labels: Sequence[SliceLabels | None], bleeding: npt.NDArray[np.bool_]
) -> list[str]:
    warnings = []
    for told, drawn, fault in (
        (True, False, "expected foreground in every slice that the table calls hemorrhage, got none in"),
        (False, True, "expected an empty mask in every slice that the table calls free of hemorrhage, got blood in"),
    ):
        wrong = [
            number
            for number, item, has_blood in zip(numbers, labels, bleeding.tolist(), strict=True)
            if item is not None and bool(item.kinds) == told and has_blood == drawn
        ]
        if wrong:
            remedy = "look at the slices; correct mask or table"
            warnings.append(str(InputError("mask-against-class", case_id, f"{fault} {listed_slices(wrong)}", remedy)))
    return warnings


def listed_slices(numbers: Sequence[int]) -> str:
    """Return slice numbers for a message, the first eight of them."""
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    return shown + (f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else "")
