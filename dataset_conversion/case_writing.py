"""One case from its source into the new dataset: read, check, repair, write. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nnunet_multitask.dataset_conversion.channels import (
    ChannelOptions,
    make_channels,
    strip_skull,
    stripping_warning,
)
from nnunet_multitask.dataset_conversion.sources import ConversionOptions, LoadedCase, Source, SourceCase
from nnunet_multitask.dataset_conversion.voxel_digest import voxel_digest
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.files import (
    Volume,
    check_same_geometry,
    count_values,
    read_image,
    read_mask,
    repair_geometry,
    write_volume,
)
from nnunet_multitask.labels import Case
from nnunet_multitask.plausibility import flip_warning, intensity_warning
from nnunet_multitask.storage import copy_file

IGNORE = "ignore"


@dataclass(frozen=True)
class CaseOutcome:
    """What became of one case.

    Args:
        case: what the sidecar says of it.
        faults: why it cannot be taken; empty where it was.
        warnings: what a user should know.
        repairs: what was mended, a sentence each.
        inputs: every file that was read, relative to the source, with its SHA-256; faulty files may be missing.
        foreground_voxels: of the mask, without the ignore label; None where the case has no mask.
        label_only: a training case without mask.
        voxel_digests: of the source's images, in the order of the channels.
    """

    case: Case
    faults: tuple[InputError, ...] = ()
    warnings: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    foreground_voxels: int | None = None
    label_only: bool = False
    voxel_digests: tuple[str, ...] = ()


def label_values(labels: Mapping[str, int | Sequence[int]]) -> set[int]:
    """Return every value above background; regions list several."""
    return {value for entry in labels.values() for value in ([entry] if isinstance(entry, int) else entry)}


def ignore_value(labels: Mapping[str, int | Sequence[int]]) -> int:
    """Return the value of nnU-Net's ignore label: the declared one, else the first that is free."""
    declared = labels.get(IGNORE)
    return declared if isinstance(declared, int) else max(label_values(labels), default=0) + 1


def relative_name(path: str | Path, folder: Path) -> str:
    """Return how the report names a file: relative to the folder of the source where it lies in it."""
    path = Path(path)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def convert_case(case: SourceCase, *, source: Source, output: Path | None, options: ConversionOptions) -> CaseOutcome:
    """Read and check a case and write it.

    Args:
        case: the case.
        source: the data set; its cases are not looked at.
        output: the folder with imagesTr, labelsTr, imagesTs and labelsTs; None writes nothing.
        options: of the conversion.

    Returns:
        The outcome, with every fault of the case; a case with faults is not written.

    Raises:
        InputError: the output cannot be written.
    """
    values = {0, *label_values(source.labels)}
    try:
        loaded = _read_files(case, values) if case.reader is None else case.reader(case)
    except InputErrors as errors:
        return CaseOutcome(case.case, errors.errors)
    except InputError as error:
        return CaseOutcome(case.case, (error,))
    except OSError as error:
        place = error.filename or next(iter(case.images), case.case_id)
        fault = f"expected a readable file, got: {error.strerror or error}"
        return CaseOutcome(case.case, (InputError("unreadable-file", place, fault, "check the file"),))
    inputs = {relative_name(path, source.folder): digest for path, digest in loaded.inputs.items()}
    faults = [] if case.reader is None else _value_faults(loaded.mask, values)
    volumes, repairs, geometry_faults = _same_geometry(loaded, source.folder, options)
    faults += geometry_faults
    if faults:
        return CaseOutcome(case.case, tuple(faults), inputs=inputs)
    mask = volumes.pop() if loaded.mask is not None else None
    try:
        channels, channel_warnings = _make_channels(volumes, mask, options.channels)
    except InputError as error:
        return CaseOutcome(case.case, (error,), inputs=inputs)
    outcome = CaseOutcome(
        loaded.case or case.case,
        warnings=(*loaded.warnings, *_warnings(case, volumes, mask, source, channel_warnings)),
        repairs=(*loaded.repairs, *repairs),
        inputs=inputs,
        foreground_voxels=None if mask is None else _foreground_voxels(mask, source),
        label_only=mask is None and not case.is_test,
        voxel_digests=tuple(voxel_digest(image.array) for image in volumes),
    )
    if output is not None:
        if outcome.label_only:
            mask = _everywhere(ignore_value(source.labels), volumes[0])
        _write(case, channels, mask, output, source.file_ending, options.link)
    return outcome


def _read_files(case: SourceCase, values: Collection[int]) -> LoadedCase:
    """Read the files as they are, and find the faults of all of them."""
    volumes, errors = [], []
    readers: list[tuple[Path, Callable[[Path], Volume]]] = [(path, read_image) for path in case.images]
    if case.mask is not None:
        readers.append((case.mask, lambda path: read_mask(path, values)))
    for path, read in readers:
        try:
            volumes.append(read(path))
        except InputError as error:
            errors.append(error)
    if errors:
        raise InputErrors(errors)
    mask = volumes.pop() if case.mask is not None else None
    inputs = {volume.path: volume.sha256 for volume in (*volumes, *([mask] if mask else []))}
    return LoadedCase(tuple(volumes), mask, inputs)


def _value_faults(mask: Volume | None, values: Collection[int]) -> list[InputError]:
    unknown = [] if mask is None else sorted(set(count_values(mask.array)) - set(values))
    if mask is None or not unknown:
        return []
    fault = f"expected the values {sorted(values)}, got {', '.join(map(str, unknown[:10]))}"
    return [InputError("unknown-mask-value", mask.path, fault, "correct the mask")]


def _same_geometry(
    loaded: LoadedCase, folder: Path, options: ConversionOptions
) -> tuple[list[Volume], list[str], list[InputError]]:
    """Return images and mask on the voxels of the first image, what was mended for that, and what cannot be mended."""
    first = loaded.images[0]
    volumes, repairs, faults = [first], [], []
    for volume in (*loaded.images[1:], *([] if loaded.mask is None else [loaded.mask])):
        taken = volume
        try:
            check_same_geometry(first, volume, options.tolerance_mm)
        except InputError as error:
            try:
                if not options.repair_geometry:
                    raise
                taken = repair_geometry(first, volume)
                distance = np.linalg.norm(first.corners_mm() - volume.corners_mm(), axis=1).max()
                name = relative_name(volume.path, folder)
                repairs.append(f"{name}: took the geometry of the image; corners were {distance:.4g} mm apart")
            except InputError:
                faults.append(error)
        volumes.append(taken)
    if loaded.mask is not None and loaded.mask.repaired_voxels:
        repairs.append(f"{loaded.mask.repaired_voxels} mask voxels beside an integer were rounded")
    return volumes, repairs, faults


def _warnings(
    case: SourceCase, images: Sequence[Volume], mask: Volume | None, source: Source, more: Sequence[InputError]
) -> list[str]:
    found = [warning for volume in (*images, *([mask] if mask else [])) for warning in volume.warnings]
    found.extend(more)
    if source.intensities_are_hu:
        found += [
            warning
            for name, image in zip(source.channel_names, images, strict=True)
            if (warning := intensity_warning(image, name)) is not None
        ]
    if mask is not None:
        if source.hyperdense_foreground and (mirrored := flip_warning(images[0], mask)) is not None:
            found.append(mirrored)
        expected = source.expects_foreground if case.expects_foreground is None else case.expects_foreground
        fault = ""
        if expected is True and not mask.array.any():  # what is to be ignored may be foreground
            fault = "expected foreground, since its class says so, got an empty mask"
        if expected is False and _foreground_voxels(mask, source):
            fault = "expected an empty mask, since its class says so, got foreground"
        if fault:
            found.append(InputError("mask-against-class", mask.path, fault, "look at the case; correct mask or class"))
    return [str(InputError(w.code, relative_name(w.where, source.folder), w.fault, w.remedy)) for w in found]


def _make_channels(
    images: Sequence[Volume], mask: Volume | None, options: ChannelOptions
) -> tuple[list[Volume], list[InputError]]:
    """Return the channels that all images become, and what stripping did to the labels."""
    stripped = [strip_skull(image) for image in images] if options.skull_strip else images
    others = replace(options, skull_strip=False)
    warnings = [
        warning
        for before, after in zip(images, stripped, strict=True)
        if mask is not None and (warning := stripping_warning(before, after, mask)) is not None
    ]
    return [channel for image in stripped for channel in make_channels(image, others)], warnings


def _foreground_voxels(mask: Volume, source: Source) -> int:
    ignored = np.count_nonzero(mask.array == source.labels[IGNORE]) if IGNORE in source.labels else 0
    return int(np.count_nonzero(mask.array) - ignored)


def _everywhere(value: int, image: Volume) -> Volume:
    array = np.full(image.array.shape, value, np.uint8)
    return Volume(array, image.spacing_mm, image.affine, image.path, changed=True)


def _write(
    case: SourceCase, images: Sequence[Volume], mask: Volume | None, output: Path, ending: str, link: bool
) -> None:
    part = "Ts" if case.is_test else "Tr"
    for index, image in enumerate(images):
        _put(image, output / f"images{part}" / f"{case.case_id}_{index:04d}{ending}", ending, link)
    if mask is not None:
        destination = output / f"labels{part}" / f"{case.case_id}{ending}"
        _put(_compact(mask) if mask.changed else mask, destination, ending, link)


def _put(volume: Volume, destination: Path, ending: str, link: bool) -> None:
    if volume.changed or not volume.path.name.endswith(ending):
        write_volume(volume, destination)
    else:
        copy_file(volume.path, destination, link)


def _compact(mask: Volume) -> Volume:
    highest = int(mask.array.max(initial=0))
    kind = np.uint8 if highest < 256 else np.uint16 if highest < 65536 else np.int32
    return replace(mask, array=mask.array.astype(kind, copy=False))
