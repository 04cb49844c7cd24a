"""Where images and masks lie: two plain folders, a raw dataset of nnU-Net, or a task of the Medical Decathlon (MSD)."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import ENDINGS
from nnunet_multitask.wording import counted

CHANNEL_HINT = "_0000 at the end of an image name is read as the number of a channel, CASE_0000 being the case CASE"

_DATASET_JSON = "dataset.json"
_MAX_LISTED = 10


@dataclass(frozen=True)
class FoundCase:
    """The files of one case.

    Args:
        images: one for each channel, or one for all where ``channels_in_one_file``.
        mask: None where there is none.
        mask_place: where it lies or would lie.
        in_test_folder: it lies among the test images.
        channels_in_one_file: the image is 4-D.
    """

    images: tuple[Path, ...]
    mask: Path | None
    mask_place: Path
    in_test_folder: bool = False
    channels_in_one_file: bool = False


@dataclass(frozen=True)
class Layout:
    """What was found in a folder.

    Args:
        cases: by case id.
        channel_names: one for each channel.
        masks_without_image: they belong to no case.
        labels: name to value or values, without background; None where nothing names them.
        regions_class_order, description, reference, licence: as in dataset.json.
    """

    cases: Mapping[str, FoundCase]
    channel_names: tuple[str, ...]
    masks_without_image: Sequence[Path] = ()
    labels: Mapping[str, int | list[int]] | None = None
    regions_class_order: Sequence[int] = ()
    description: str = ""
    reference: str = ""
    licence: str = ""

    @property
    def file_ending(self) -> str:
        """The ending that all files share, else ``.nii.gz``."""
        paths = [path for case in self.cases.values() for path in (*case.images, case.mask) if path is not None]
        endings = {ending_of(path) for path in paths}
        return endings.pop() if len(endings) == 1 else ENDINGS[0]


def find_layout(
    root: Path,
    *,
    images: str | None = None,
    labels: str | None = None,
    channel_names: Sequence[str] | None = None,
) -> Layout:
    """Find images and masks.

    Args:
        root: holds ``images`` and ``labels``, or ``imagesTr``, ``labelsTr``, ``imagesTs`` and ``labelsTs``, or a
            ``dataset.json`` of the Medical Decathlon that lists its files.
        images, labels: other names for the two folders.
        channel_names: in place of those of dataset.json; ``("CT",)`` where neither names them.

    Raises:
        InputError: none of these, or a dataset.json of another form.
        InputErrors: channels that are missing, or files that the list names and that are not there.
    """
    if images is None and labels is None and not (root / "images").is_dir():
        if (root / _DATASET_JSON).is_file():
            document = read_json(root / _DATASET_JSON)
            if isinstance(document, Mapping) and "training" in document:
                from nnunet_multitask.dataset_conversion.msd_layout import msd_layout

                return msd_layout(root, document, channel_names)
            return _nnunet_layout(root, document, channel_names)
        if (root / "imagesTr").is_dir():
            return _nnunet_layout(root, {}, channel_names)
    names = tuple(channel_names or ("CT",))
    cases, orphans = pair_files(root / (images or "images"), root / (labels or "labels"), len(names))
    return Layout(cases, names, orphans)


def pair_files(
    images: Path, masks: Path, num_channels: int, *, in_test_folder: bool = False
) -> tuple[dict[str, FoundCase], list[Path]]:
    """Return the cases of a folder of images with their masks from another, and the masks without image.

    Args:
        images: ``CASE.nii.gz``, or ``CASE_0000.nii.gz`` ... for several channels.
        masks: ``CASE.nii.gz``; the folder may be missing.
        num_channels: of each case.
        in_test_folder: of all cases found.

    Raises:
        InputError: no such folder of images, no image in it, or all cases have another number of channels.
        InputErrors: cases with other channels.
    """
    files = list_volumes(images)
    if not files:
        fault = f"expected images ({', '.join(ENDINGS)}), found none"
        raise InputError("missing-images", images, fault, "check --input and --images")
    mask_of = list_volumes(masks) if masks.exists() else {}
    grouped = _group_channels(files, num_channels, mask_of)
    cases = {}
    for name, paths in grouped.items():
        place = mask_of.get(name, masks / f"{name}{ending_of(paths[0])}")
        cases[name] = FoundCase(paths, mask_of.get(name), place, in_test_folder)
    return cases, [path for name, path in mask_of.items() if name not in cases]


def list_volumes(folder: Path) -> dict[str, Path]:
    """Return the volumes of a folder by file name without ending, sorted; hidden and other files are passed over.

    Raises:
        InputError: no such folder.
        InputErrors: two files that differ by their ending only.
    """
    if not folder.is_dir():
        raise InputError("missing-folder", folder, "expected a folder, found none", "check the path")
    files: dict[str, Path] = {}
    errors = []
    for path in sorted(folder.iterdir()):
        ending = ending_of(path)
        if not ending or path.name.startswith("."):
            continue
        stem = path.name.removesuffix(ending)
        if stem in files:
            fault = f"expected each case once, {files[stem].name} is there, too"
            errors.append(InputError("duplicate-case", path, fault, "remove one"))
        files[stem] = path
    if errors:
        raise InputErrors(errors)
    return files


def ending_of(path: Path | str) -> str:
    """Return the ending of a volume, or an empty text for other files."""
    name = path if isinstance(path, str) else path.name
    return next((ending for ending in ENDINGS if name.endswith(ending)), "")


def texts_of(document: Mapping[str, Any]) -> dict[str, str]:
    """Return what dataset.json says of the data set: description, reference, licence."""
    found = {
        "description": document.get("description"),
        "reference": document.get("reference"),
        "licence": document.get("licence", document.get("license")),
    }
    return {key: text for key, text in found.items() if isinstance(text, str) and text}


def check_channel_names(root: Path, channel_names: Sequence[str] | None, entry: Any) -> tuple[str, ...]:
    """Return the channel names that are given, else those of dataset.json (number to name).

    Raises:
        InputError: dataset.json has them in another form.
    """
    if channel_names:
        return tuple(channel_names)
    if entry is None:
        return ("CT",)
    if not isinstance(entry, Mapping) or sorted(entry) != sorted(str(index) for index in range(len(entry))):
        fault = f'expected channel names as {{"0": name, ...}}, got {str(entry)[:80]}'
        raise InputError("bad-document", root / _DATASET_JSON, fault, "correct it, or give --channel-name")
    return tuple(str(entry[str(index)]) for index in range(len(entry)))


def _nnunet_layout(root: Path, document: Any, channel_names: Sequence[str] | None) -> Layout:
    if not isinstance(document, Mapping):
        raise InputError("bad-document", root / _DATASET_JSON, "expected an object, got something else", "correct it")
    names = check_channel_names(root, channel_names, document.get("channel_names"))
    cases, orphans = pair_files(root / "imagesTr", root / "labelsTr", len(names))
    if (root / "imagesTs").is_dir() and list_volumes(root / "imagesTs"):
        test, more = pair_files(root / "imagesTs", root / "labelsTs", len(names), in_test_folder=True)
        both = sorted(set(cases) & set(test))
        if both:
            raise InputErrors(_in_both_folders(test[name].images[0], cases[name].images[0]) for name in both)
        cases, orphans = cases | test, [*orphans, *more]
    labels = _nnunet_labels(root, document["labels"]) if "labels" in document else None
    order = document.get("regions_class_order") or []
    if not isinstance(order, list) or not all(isinstance(value, int) for value in order):
        fault = f"expected regions_class_order as a list of values, got {str(order)[:80]}"
        raise InputError("bad-document", root / _DATASET_JSON, fault, "correct it")
    return Layout(cases, names, orphans, labels, tuple(order), **texts_of(document))


def _in_both_folders(test: Path, training: Path) -> InputError:
    fault = f"expected a case in training or test, it is {training}, too"
    return InputError("duplicate-case", test, fault, "remove one of them")


def _nnunet_labels(root: Path, entry: Any) -> dict[str, int | list[int]]:
    is_right = isinstance(entry, Mapping) and all(
        isinstance(value, int) or (isinstance(value, list) and all(isinstance(part, int) for part in value))
        for value in entry.values()
    )
    if not is_right:
        fault = f'expected labels as {{"background": 0, name: value, ...}}, got {str(entry)[:80]}'
        raise InputError("bad-document", root / _DATASET_JSON, fault, "correct it, or give --label-names")
    return {name: value for name, value in entry.items() if value != 0}


def _group_channels(
    files: Mapping[str, Path], num_channels: int, masks: Mapping[str, Path]
) -> dict[str, tuple[Path, ...]]:
    """Return the channels of each case; a single channel may do without its number."""
    cases: dict[str, dict[int, Path]] = {}
    for stem, path in files.items():
        match = re.fullmatch(r"(.+)_(\d{4})", stem)
        # hippocampus_0004 is a case, not a channel: a number counts where its case has a channel 0
        numbered = match is not None and f"{match[1]}_0000" in files
        name, index = (match[1], int(match[2])) if match is not None and numbered else (stem, 0)
        cases.setdefault(name, {})[index] = path
    if num_channels == 1:
        for name, channels in list(cases.items()):
            stems = {path.name.removesuffix(ending_of(path)): path for path in channels.values()}
            if len(stems) > 1 and set(stems) <= set(masks):  # a mask each: cases numbered from 0 on
                del cases[name]
                cases.update({stem: {0: path} for stem, path in stems.items()})
    same = tuple(sorted(next(iter(cases.values()))))
    if (
        len(cases) > 1
        and len(same) != num_channels
        and all(tuple(sorted(channels)) == same for channels in cases.values())
        and same == tuple(range(len(same)))
    ):
        listed = f"the channel{'s' if len(same) > 1 else ''} {', '.join(map(str, same))}"
        fault = f"expected {counted(num_channels, 'channel')} a case, all {len(cases)} cases have {listed}"
        remedy = f"give {counted(len(same), 'name')}: --channel-name {','.join(string.ascii_uppercase[: len(same)])}"
        raise InputError("missing-channel", next(iter(files.values())).parent, fault, f"{remedy}; {CHANNEL_HINT}")
    errors = [
        InputError(
            "missing-channel",
            next(iter(channels.values())),
            f"expected the channels 0 to {num_channels - 1} of {name}, got {_numbers(channels)}",
            f"name them {name}_0000{_ending(channels.values())}, ..., and give a --channel-name for each; "
            f"{CHANNEL_HINT}",
        )
        for name, channels in cases.items()
        if sorted(channels) != list(range(num_channels))
    ]
    if errors:
        raise InputErrors(errors)
    return {name: tuple(channels[index] for index in range(num_channels)) for name, channels in cases.items()}


def _numbers(channels: Iterable[int]) -> str:
    numbers = sorted(channels)
    return str(numbers) if len(numbers) <= _MAX_LISTED else f"{len(numbers)} of them"


def _ending(paths: Iterable[Path]) -> str:
    return ending_of(next(iter(paths)))
