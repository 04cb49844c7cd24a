"""The files that a dataset.json of the Medical Decathlon (MSD), or of nnU-Net's first version, lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from nnunet_multitask.dataset_conversion.layouts import (
    FoundCase,
    Layout,
    check_channel_names,
    ending_of,
    texts_of,
)
from nnunet_multitask.errors import InputError, InputErrors


def msd_layout(root: Path, document: Mapping[str, Any], channel_names: Sequence[str] | None) -> Layout:
    """Return the cases that dataset.json lists.

    Several modalities of a case lie in one 4-D file. Where the listed file is absent and ``CASE_0000`` lies there, as
    nnU-Net's first version had it, the modalities lie in a file each.

    Args:
        root: the folder of the task.
        document: with ``training``, a list of ``{"image": ..., "label": ...}``, and optionally ``test``, a list of
            images; ``modality`` and ``labels`` are objects of number to name.
        channel_names: in place of ``modality``.

    Raises:
        InputError: another form.
        InputErrors: every entry that names no file inside of ``root``, or a case twice.
    """
    names = check_channel_names(root, channel_names, document.get("modality", document.get("channel_names")))
    cases: dict[str, FoundCase] = {}
    errors: list[InputError] = []
    entries = [("training", index, entry) for index, entry in enumerate(_list(root, document, "training"))]
    entries += [("test", index, entry) for index, entry in enumerate(_list(root, document, "test"))]
    for part, index, entry in entries:
        place = f"{root / 'dataset.json'}: {part}/{index}"
        image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, Mapping) else (entry, None)
        try:
            image_path = _inside(root, image, place)
            case_id = image_path.name.removesuffix(ending_of(image_path))
            images = _channels(image_path, case_id, len(names))
            mask_place = _mask_place(root, label, place, image_path, part)
        except InputError as error:
            errors.append(error)
            continue
        if case_id in cases:
            fault = f"expected each case once, {case_id} is also {cases[case_id].images[0]}"
            errors.append(InputError("duplicate-case", place, fault, "remove one of the entries"))
        mask = mask_place if mask_place.is_file() else None
        cases[case_id] = FoundCase(images, mask, mask_place, part == "test", len(images) < len(names))
    if errors:
        raise InputErrors(errors)
    return Layout(cases, names, (), _labels(root, document.get("labels")), (), **texts_of(document))


def _list(root: Path, document: Mapping[str, Any], key: str) -> list[Any]:
    entry = document.get(key, [])
    if not isinstance(entry, list):
        fault = f"expected a list as {key}, got {str(entry)[:80]}"
        raise InputError("bad-document", root / "dataset.json", fault, "correct it")
    return entry


def _inside(root: Path, entry: Any, place: str) -> Path:
    """Return the path that an entry names, which must not lead out of the folder."""
    name = PurePosixPath(entry) if isinstance(entry, str) and "\0" not in entry else PurePosixPath("/")
    if name.is_absolute() or ".." in name.parts or not ending_of(name.name):
        fault = f"expected the path of an image inside of the folder, got {str(entry)[:80]!r}"
        raise InputError("unsafe-path", place, fault, "correct the entry")
    return root / name


def _channels(image: Path, case_id: str, num_channels: int) -> tuple[Path, ...]:
    ending = ending_of(image)
    numbered = tuple(image.with_name(f"{case_id}_{index:04d}{ending}") for index in range(num_channels))
    if image.is_file() or not numbered[0].is_file():
        numbered = (image,)
    absent = [path for path in numbered if not path.is_file()]
    if absent:
        raise InputError("missing-image", absent[0], "expected an image that dataset.json lists, found none", "add it")
    return numbered


def _mask_place(root: Path, label: Any, place: str, image: Path, part: str) -> Path:
    """Return where the mask of an entry lies, or would lie where the entry names none."""
    if label is None:
        return root / ("labelsTs" if part == "test" else "labelsTr") / image.name
    mask = _inside(root, label, place)
    if not mask.is_file():
        raise InputError("missing-mask", mask, "expected a mask that dataset.json lists, found none", "add it")
    return mask


def _labels(root: Path, entry: Any) -> dict[str, int | list[int]] | None:
    if entry is None:
        return None
    if not isinstance(entry, Mapping) or not all(value.isdecimal() for value in entry):
        fault = f'expected labels as {{"0": "background", "1": name, ...}}, got {str(entry)[:80]}'
        raise InputError("bad-document", root / "dataset.json", fault, "correct it, or give --label-names")
    named: dict[str, int | list[int]] = {str(entry[key]): int(key) for key in sorted(entry, key=int) if int(key) != 0}
    if len(named) < sum(int(key) != 0 for key in entry):
        fault = f"expected each label name once, got {', '.join(map(str, entry.values()))}"
        raise InputError("duplicate-label", root / "dataset.json", fault, "correct it, or give --label-names")
    return named
