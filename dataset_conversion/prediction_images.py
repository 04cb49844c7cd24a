"""Make images of new patients fit for prediction: the channels that the converter of the training data made.

A model that was trained on windows, on the inside of the skull or on mirrored copies needs images of the same kind.
Each image of the input folder becomes CASE_0000.nii.gz, CASE_0001.nii.gz, ... with every check of a conversion. What
was made of the training data is read from the report of its dataset, or said by the same options.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.channels import (
    MADE_CHANNELS,
    WINDOW_CHANNEL,
    ChannelOptions,
    check_options,
    describe_channels,
    make_channels,
)
from nnunet_multitask.dataset_conversion.conversion_report import REPORT_NAME
from nnunet_multitask.dataset_conversion.layouts import pair_files
from nnunet_multitask.dataset_conversion.replacing import check_replaceable
from nnunet_multitask.dataset_conversion.script import add_channel_arguments, channels_from, positive, run_script
from nnunet_multitask.datasets import find_dataset, required_folder
from nnunet_multitask.documents import check_schema, read_json, write_json
from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import ENDINGS, check_same_geometry, read_image, write_volume
from nnunet_multitask.labels import case_id_fault
from nnunet_multitask.plausibility import intensity_warning
from nnunet_multitask.storage import atomic_directory, copy_file

CONVERTER = "prediction-images"


@dataclass(frozen=True)
class Recipe:
    """How images of the source became those of a dataset.

    Args:
        source_names: names of the source's channels.
        channels: what was made of each.
        file_ending: of the dataset.
    """

    source_names: tuple[str, ...] = ("CT",)
    channels: ChannelOptions = field(default_factory=ChannelOptions)
    file_ending: str = ENDINGS[0]


def recipe_of(dataset: Path) -> Recipe:
    """Return the recipe of a dataset that a converter of this package wrote.

    Raises:
        InputError, InputErrors: its report is missing or damaged.
    """
    report = read_json(dataset / REPORT_NAME)
    check_schema(report, REPORT_NAME, dataset / REPORT_NAME)
    document = read_json(dataset / "dataset.json")
    options = report["options"]
    channels = ChannelOptions(tuple(options["windows"]), options["skull_strip"], options["mirror_channel"])
    contents = [entry["content"] for entry in report["channels"]]
    names = [entry["name"] for entry in report["channels"]]
    step = len(describe_channels(channels, contents[0]))
    source_names = ["CT" if channels.windows else name for name in names[::step]]
    return Recipe(tuple(source_names), channels, document["file_ending"])


def recipe_of_model(folder: Path) -> Recipe:
    """Return the recipe of the dataset on which a model was trained.

    ``dataset.json`` of the model's folder tells it where a converter of this package made channels. Where an older one
    does not, the dataset of its name in ``$nnUNet_raw`` does; without that, its channels are taken for the images.

    Raises:
        InputError: the channels are windows, and nothing tells which.
    """
    path = folder / "dataset.json"
    document = read_json(path)
    names = [str(document["channel_names"][key]) for key in sorted(document["channel_names"], key=int)]
    made = document.get(MADE_CHANNELS)
    if made is not None:
        channels = ChannelOptions(tuple(made["windows"]), made["skull_strip"], made["mirror_channel"])
        return Recipe(tuple(made["of"]), channels, document["file_ending"])
    dataset = read_json(folder / "plans.json").get("dataset_name", "")
    raw = Path(os.environ.get("nnUNet_raw") or os.devnull) / dataset  # noqa: SIM112  nnU-Net's own name
    if dataset and (raw / REPORT_NAME).is_file():
        return recipe_of(raw)
    if WINDOW_CHANNEL in names:
        fault = f"expected to be told of which windows the channels {', '.join(names)} are, got no {MADE_CHANNELS}"
        remedy = f"let nnUNet_raw name the folder of {dataset or 'the dataset'}, converted by this package"
        raise InputError("unknown-channels", path, fault, remedy)
    return Recipe(tuple(names), ChannelOptions(), document["file_ending"])


def prepare(
    input_dir: str | Path,
    output_dir: str | Path,
    recipe: Recipe,
    *,
    overwrite: bool = False,
    num_workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Write the channels of every image of a folder.

    Args:
        input_dir: holds ``CASE.nii.gz``, or ``CASE_0000.nii.gz`` ... for several channels; never written to.
        output_dir: gets the channels and conversion_report.json, whole or not at all.
        recipe: what is made of the images.
        overwrite: replace a folder that this function wrote.
        num_workers: processes, None for one a core.
        progress: show a progress bar.

    Returns:
        The content of conversion_report.json.

    Raises:
        InputErrors: every fault of every image.
        InputError: no images, channels that cannot be made of them, or an output that may not be written.
    """
    input_dir, output_dir = Path(input_dir), Path(output_dir)
    check_options(recipe.channels, recipe.source_names)
    check_replaceable(output_dir, overwrite, f"images written by this command ({REPORT_NAME})", _is_own)
    cases, _ = pair_files(input_dir, input_dir / "no masks", len(recipe.source_names))
    images = {case_id: case.images for case_id, case in sorted(cases.items())}
    errors = [
        InputError("unsafe-case-id", paths[0], fault, "rename the file")
        for case_id, paths in images.items()
        if (fault := case_id_fault(case_id)) is not None
    ]
    if errors:
        raise InputErrors(errors)
    with atomic_directory(output_dir, overwrite) as temporary:
        outcomes = map_in_order(
            partial(_prepare_image, recipe=recipe, output=temporary),
            images.items(),
            num_workers=num_workers,
            description="prepare images",
            progress=progress,
        )
        found = dict(zip(images, outcomes, strict=True))
        faults = [error for outcome in found.values() for error in outcome.faults]
        if faults:
            raise InputErrors(faults)
        report = _report(recipe, found)
        write_json(temporary / REPORT_NAME, report)
    return report


@dataclass(frozen=True)
class _Outcome:
    faults: tuple[InputError, ...] = ()
    warnings: tuple[str, ...] = ()
    inputs: Mapping[str, str] | None = None


def _prepare_image(item: tuple[str, Sequence[Path]], *, recipe: Recipe, output: Path) -> _Outcome:
    case_id, paths = item
    volumes, faults = [], []
    for path in paths:
        try:
            volumes.append(read_image(path))
        except InputError as error:
            faults.append(error)
    try:
        for volume in volumes[1:]:
            check_same_geometry(volumes[0], volume)
        channels = [] if faults else [made for volume in volumes for made in make_channels(volume, recipe.channels)]
    except InputError as error:
        return _Outcome((*faults, error))
    if faults:
        return _Outcome(tuple(faults))
    for index, channel in enumerate(channels):
        destination = output / f"{case_id}_{index:04d}{recipe.file_ending}"
        if channel.changed or not channel.path.name.endswith(recipe.file_ending):
            write_volume(channel, destination)
        else:
            copy_file(channel.path, destination)
    found = [intensity_warning(volume, name) for name, volume in zip(recipe.source_names, volumes, strict=True)]
    warnings = [*(w for volume in volumes for w in volume.warnings), *(w for w in found if w is not None)]
    named = tuple(str(InputError(w.code, Path(w.where).name, w.fault, w.remedy)) for w in warnings)
    return _Outcome(warnings=named, inputs={volume.path.name: volume.sha256 for volume in volumes})


def _report(recipe: Recipe, outcomes: Mapping[str, _Outcome]) -> dict[str, Any]:
    return {
        "version": 1,
        "converter": CONVERTER,
        "options": {**asdict(recipe.channels), "windows": list(recipe.channels.windows)},
        "channels": [text for name in recipe.source_names for text in describe_channels(recipe.channels, name)],
        "counts": {"images": len(outcomes)},
        "warnings": [text for outcome in outcomes.values() for text in outcome.warnings],
        "images": {case_id: dict(outcome.inputs or {}) for case_id, outcome in outcomes.items()},
    }


def _is_own(folder: Path) -> bool:
    report = folder / REPORT_NAME
    return report.is_file() and read_json(report).get("converter") == CONVERTER


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this converter."""
    parser.add_argument("--input", type=Path, required=True, metavar="DIR", help="folder of images")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--dataset", metavar="NAME_OR_ID", help="the dataset of $nnUNet_raw on which the model was trained"
    )
    add_channel_arguments(parser)
    parser.add_argument(
        "--num-workers", type=positive, metavar="N", help="images worked on at a time (default: one a core)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that this command wrote")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Do what the parsed options say and return a summary for the user."""
    recipe = Recipe(channels=channels_from(args))
    if args.dataset is not None:
        if recipe.channels.changes_images:
            fault = "expected --dataset or options of channels, got both"
            raise InputError("needless-option", "--dataset", fault, "leave the others out: its report names them")
        recipe = recipe_of(find_dataset(required_folder("nnUNet_raw"), args.dataset))
    report = prepare(args.input, args.output, recipe, overwrite=args.overwrite, num_workers=args.num_workers)
    return {
        "folder": str(args.output),
        "counts": report["counts"],
        "channels": ", ".join(report["channels"]),
        "warnings": report["warnings"],
    }


if __name__ == "__main__":
    sys.exit(run_script(__doc__, add_arguments, run))
