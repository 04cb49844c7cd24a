"""Reading one scan of PhysioNet CT-ICH 1.0 to 1.2, whose slices are JPEG files."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_multitask.dataset_conversion.physionet_layout import check_digest
from nnunet_multitask.dataset_conversion.physionet_reading import PhysionetReader, listed_slices
from nnunet_multitask.dataset_conversion.sources import LoadedCase, SourceCase
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import Volume
from nnunet_multitask.storage import read_bytes

_SLICE_FILE = re.compile(r"(\d+)\.jpe?g", re.IGNORECASE)
_MASK_FILE = re.compile(r"(\d+)_HGE_Seg\.jpe?g", re.IGNORECASE)
_MASK_THRESHOLD = 128  # JPEG blurs the edges of a mask of 0 and 255


class JpegReader(PhysionetReader):
    """Stacks ``brain/N.jpg``, ``bone/N.jpg`` and ``brain/N_HGE_Seg.jpg`` of 1.0 to 1.2 into volumes.

    The axes are taken as a radiologist is shown them: rows to the back, columns to the patient's left, slices upwards.
    """

    def __call__(self, case: SourceCase) -> LoadedCase:
        """Read the slices that every channel has, in the order of their numbers; spacing 1 mm.

        Raises:
            InputErrors: no slice at all, damaged slices or slices of several sizes, a mask without its slice.
        """
        folders = [_SliceFolder.of(path) for path in case.images]
        brain = folders[0]
        numbers = sorted(set.intersection(*(set(folder.slices) for folder in folders)))
        masked = [number for number in numbers if number in brain.masks]
        paths = [folder.slices[number] for folder in folders for number in numbers]
        inputs: dict[Path, str] = {}
        arrays, errors = self._read([*paths, *(brain.masks[number] for number in masked)], inputs)
        if not numbers:
            errors.append(InputError("missing-image", brain.path, "expected N.jpg, found none", "add the slices"))
        for number in sorted(set(brain.masks) - set(brain.slices)):
            fault = f"expected {number}.jpg beside it, found none"
            errors.append(InputError("missing-image", brain.masks[number], fault, "add the slice or remove the mask"))
        if errors:
            raise InputErrors(errors)
        grey = np.stack(arrays[: len(paths)]).reshape(len(folders), len(numbers), *arrays[0].shape)
        blood = np.zeros(grey.shape[1:], np.uint8)
        for number, array in zip(masked, arrays[len(paths) :], strict=True):
            blood[numbers.index(number)] = array >= _MASK_THRESHOLD
        images = tuple(_jpeg_volume(array, folder.path) for array, folder in zip(grey, folders, strict=True))
        labels, mask, warnings = self.finish(case, _jpeg_volume(blood, brain.path), numbers)
        return LoadedCase(
            images, mask, inputs, warnings=(*warnings, *_gap_warnings(case.case_id, folders)), case=labels
        )

    def _read(
        self, paths: Sequence[Path], inputs: dict[Path, str]
    ) -> tuple[list[npt.NDArray[np.uint8]], list[InputError]]:
        """Return (Y, X) of each slice that can be read, and the faults of the others; digests go to ``inputs``."""
        arrays: list[npt.NDArray[np.uint8]] = []
        errors = []
        for path in paths:
            try:
                array, inputs[path] = _read_jpeg(path)
                check_digest(path, inputs[path], self.checksums)
                if arrays and array.shape != arrays[0].shape:
                    fault = f"expected {arrays[0].shape} pixels as of the first slice, got {array.shape}"
                    raise InputError("shape-differs", path, fault, "export all slices in one size")
                arrays.append(array)
            except InputError as error:
                errors.append(error)
        return arrays, errors


@dataclass(frozen=True)
class _SliceFolder:
    """The slices and masks of a folder by slice number."""

    path: Path
    slices: Mapping[int, Path]
    masks: Mapping[int, Path]

    @classmethod
    def of(cls, path: Path) -> _SliceFolder:
        slices: dict[int, Path] = {}
        masks: dict[int, Path] = {}
        for file in sorted(path.iterdir()):
            for pattern, found in ((_SLICE_FILE, slices), (_MASK_FILE, masks)):
                if match := pattern.fullmatch(file.name):
                    found[int(match[1])] = file
        return cls(path, slices, masks)


def _read_jpeg(path: Path) -> tuple[npt.NDArray[np.uint8], str]:
    """Return (Y, X) grey levels and the SHA-256 of the file."""
    from PIL import Image

    raw = read_bytes(path)
    try:
        array = np.asarray(Image.open(io.BytesIO(raw)).convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        fault = f"expected a whole JPEG image, got: {error}"
        raise InputError("unreadable-image", path, fault, "download the file again") from error
    return array, hashlib.sha256(raw).hexdigest()


def _jpeg_volume(array: npt.NDArray[np.uint8], path: Path) -> Volume:
    return Volume(array, (1.0, 1.0, 1.0), np.diag([-1.0, -1.0, 1.0, 1.0]), path, changed=True)


def _gap_warnings(case_id: str, folders: Sequence[_SliceFolder]) -> Iterator[str]:
    """Say which slices a folder does not have although another one, or a higher number, says that they exist."""
    everything = set(range(1, max(max(folder.slices) for folder in folders) + 1))
    for folder in folders:
        if absent := sorted(everything - set(folder.slices)):
            fault = f"expected {folder.path.name}/N.jpg for every slice, found none for {listed_slices(absent)}"
            remedy = "the volume is stacked without; add them where they exist"
            yield str(InputError("missing-slice", case_id, fault, remedy))
