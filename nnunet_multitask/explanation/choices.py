"""What is asked for, held against what the model has: targets, classes, stages, channels of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_multitask.errors import InputError
from nnunet_multitask.files import ENDINGS
from nnunet_multitask.labels import Target


def chosen_targets(names: Sequence[str] | None, known: Mapping[str, Target]) -> dict[str, Target]:
    """Return the targets of these names, or all.

    Raises:
        InputError: an unknown one.
    """
    unknown = [name for name in names or () if name not in known]
    if unknown:
        fault = f"expected some of {', '.join(known)}, got {', '.join(unknown)}"
        raise InputError("unknown-target", "--targets", fault, "correct it")
    return {name: target for name, target in known.items() if names is None or name in names}


def chosen_classes(texts: Sequence[str], targets: Mapping[str, Target]) -> dict[str, list[str]]:
    """Return the classes to explain, by target, of the targets that any text names.

    Args:
        texts: ``CLASS`` of every target that has it, ``TARGET=CLASS``; ``all`` instead of a class: each.
        targets: those that are explained.

    Raises:
        InputError: an unknown target or class.
    """
    chosen: dict[str, list[str]] = {}
    for text in texts:
        name, separator, wanted = text.partition("=")
        named = {name: targets[name]} if separator and name in targets else targets
        class_name = wanted if separator and name in targets else text
        found = {
            target.name: list(target.classes) if class_name == "all" else [class_name]
            for target in named.values()
            if class_name == "all" or class_name in target.classes
        }
        if not found:
            known = "; ".join(f"{target.name}={', '.join(target.classes)}" for target in targets.values())
            fault = f"expected CLASS or TARGET=CLASS among {known}, or all, got {text}"
            raise InputError("unknown-class", "--class", fault, "correct it")
        for target_name, names in found.items():
            chosen[target_name] = list(dict.fromkeys([*chosen.get(target_name, []), *names]))
    return chosen


def chosen_stages(numbers: Sequence[int] | None, count: int) -> list[int]:
    """Return the numbers of the stages to explain, in order.

    Raises:
        InputError: one that the network does not have.
    """
    absent = [number for number in numbers or () if not 0 <= number < count]
    if absent:
        fault = f"expected stages from 0 (finest) to {count - 1}, got {', '.join(map(str, absent))}"
        raise InputError("unknown-stage", "--stages", fault, "correct it")
    return list(range(count)) if numbers is None else sorted(set(numbers))


def check_files(images: Mapping[str, Sequence[Path]], dataset_json: Mapping[str, Any]) -> None:
    """Refuse no images, another number of channels than the model's, and formats whose geometry cannot be kept.

    Raises:
        InputError: any of these.
    """
    channels = len(dataset_json["channel_names"])
    if not images:
        ending = dataset_json["file_ending"]
        raise InputError("no-images", "-i", f"expected images CASE_0000{ending}, found none", "correct the folder")
    for case_id, files in images.items():
        if len(files) != channels:
            names = ", ".join(map(str, dataset_json["channel_names"].values()))
            fault = f"expected {channels} channels ({names}), got {len(files)}"
            raise InputError("wrong-channels", f"case {case_id}", fault, "give all channels of the model")
        if not files[0].name.endswith(ENDINGS):
            fault = f"expected one of {', '.join(ENDINGS)}, whose geometry maps can have, got another format"
            raise InputError("unsupported-format", files[0], fault, "convert the images")
