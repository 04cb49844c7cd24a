"""Reading of a case whose channels lie in one file, or whose classes its mask tells."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_multitask.dataset_conversion.case_writing import IGNORE
from nnunet_multitask.dataset_conversion.sources import LoadedCase, SourceCase
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import Volume, count_values, read_channels, read_image, read_mask
from nnunet_multitask.labels import Label, Target


@dataclass(frozen=True)
class FolderReader:
    """Reads the files of a case.

    Args:
        mask_target: its label is what the mask shows; None for no such target.
        ignore: the value of the ignore label, or None.
        channels_in_one_file: how many channels the 4-D image has; 0 where each has a file.
    """

    mask_target: Target | None = None
    ignore: int | list[int] | None = None
    channels_in_one_file: int = 0

    def __call__(self, case: SourceCase) -> LoadedCase:
        """Read a case.

        Raises:
            InputErrors: every fault of every file.
        """
        images: list[Volume] = []
        mask: Volume | None = None
        errors: list[InputError] = []
        for path in case.images:
            try:
                images += self._read_channels(path) if self.channels_in_one_file else [read_image(path)]
            except InputError as error:
                errors.append(error)
        if case.mask is not None:
            try:
                mask = read_mask(case.mask)
            except InputError as error:
                errors.append(error)
        if errors:
            raise InputErrors(errors)
        inputs = {volume.path: volume.sha256 for volume in (*images, *([mask] if mask else []))}
        if mask is None or self.mask_target is None:
            return LoadedCase(tuple(images), mask, inputs)
        values = count_values(mask.array)
        if self.ignore in values:
            text = f"{case.case_id}: its mask holds the ignore label; its label of {self.mask_target.name} is unknown"
            return LoadedCase(tuple(images), mask, inputs, warnings=(text,))
        labels = {**case.case.labels, self.mask_target.name: shown_classes(self.mask_target, values)}
        return LoadedCase(tuple(images), mask, inputs, case=replace(case.case, labels=labels))

    def _read_channels(self, path: Path) -> tuple[Volume, ...]:
        channels = read_channels(path)
        if len(channels) != self.channels_in_one_file:
            fault = f"expected {self.channels_in_one_file} channels, as dataset.json names them, got {len(channels)}"
            raise InputError("missing-channel", path, fault, "correct dataset.json, or give --channel-name")
        return channels


def mask_target(target_name: str, labels: Mapping[str, int | Sequence[int]]) -> Target:
    """Return the target that asks which labels occur in the mask.

    Args:
        target_name: of the new target.
        labels: of the masks without background, name to value or values.

    Returns:
        A multilabel target with a class for each label; for a single label a binary one, with the classes ``no NAME``
        and ``NAME``. The ignore label is no class.
    """
    values = {
        label: (value,) if isinstance(value, int) else tuple(value)
        for label, value in labels.items()
        if label != IGNORE
    }
    description = "which labels occur in the mask"
    if len(values) == 1:
        (label,) = values
        return Target(target_name, "binary", (f"no {label}", label), description, values)
    return Target(target_name, "multilabel", tuple(values), description, values)


def shown_classes(target: Target, values: Collection[int]) -> Label:
    """Return the label of a case whose mask holds these values.

    Args:
        target: from ``mask_target``.
        values: those that occur in the mask.
    """
    present = tuple(name for name, labels in target.present_if_label.items() if not set(labels).isdisjoint(values))
    return present if target.type == "multilabel" else target.classes[len(present)]
