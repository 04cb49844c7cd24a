"""DICOM series as the cases of a prediction: a folder for each case, the channels that the model was trained on."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_multitask.dataset_conversion.channels import check_options, describe_channels, make_channels
from nnunet_multitask.dataset_conversion.dicom_report import Outcome
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import case_id_fault
from nnunet_multitask.wording import counted

if TYPE_CHECKING:
    from nnunet_multitask.dataset_conversion.dicom_series import Discovery, Stack
    from nnunet_multitask.dataset_conversion.prediction_images import Recipe

logger = logging.getLogger(__name__)

CONVERTER = "predict"  # in the report of images that a prediction keeps
_MODALITIES = {"ct": ("CT",), "mr": ("MR",), "mri": ("MR",), "pt": ("PT",), "pet": ("PT",)}
_ANY_MODALITY = ("CT", "MR", "PT")
_LISTED = 10


def holds_dicom(folder: Path, file_ending: str) -> bool:
    """Tell whether a folder holds DICOM files, in it or below, rather than the images that nnU-Net reads.

    Args:
        folder: what a prediction is asked for.
        file_ending: of images.

    Raises:
        InputError: it holds both.
    """
    from nnunet_multitask.dataset_conversion.dicom_series import files_below

    images = [path.name for path in folder.iterdir() if path.name.endswith(file_ending)]
    example = next((p for p in files_below(folder) if not p.name.endswith(file_ending) and _is_dicom(p)), None)
    if images and example is not None:
        fault = f"expected images or DICOM series, got both: {min(images)} and {example.relative_to(folder)}"
        raise InputError("mixed-input", folder, fault, "put them into folders of their own")
    return example is not None


def check_recipe(recipe: Recipe, where: Path) -> tuple[str, ...]:
    """Return the modalities of the series that a model can be given; of a channel that names none all.

    Raises:
        InputError: the channels are not made of one series.
    """
    if len(recipe.source_names) != 1:
        raise InputError(
            "several-sources",
            where,
            f"expected a model whose channels are made of one series, got {', '.join(recipe.source_names)}",
            "make images of the series with `nnunet-multitask convert dicom`, and name them CASE_0000, CASE_0001, ...",
        )
    check_options(recipe.channels, recipe.source_names)
    return _MODALITIES.get(recipe.source_names[0].lower(), _ANY_MODALITY)


def find_cases(folder: Path, modalities: Sequence[str], series: Collection[str] = ()) -> dict[str, Stack]:
    """Return the series of each case: one of each subfolder, however deep, and one of what spans several or none.

    Args:
        folder: its subfolders name the cases; for a series in the folder itself, its own name does.
        modalities: which are wanted.
        series: SeriesInstanceUIDs; in a folder that holds one of them, the others are passed over.

    Raises:
        InputErrors: files that should be slices and cannot be read, several series in one folder, folders whose names
            would be one file.
        InputError: no series at all, or none of a UID that is named.
    """
    from nnunet_multitask.dataset_conversion.dicom_series import find_stacks

    found = find_stacks(folder, modalities, progress=False)
    if found.faults:
        raise InputErrors(found.faults)
    unknown = sorted(set(series) - {stack.series_uid for stack in found.stacks})
    if unknown or not found.stacks:
        known = "; ".join(map(_shown, found.stacks[:_LISTED]))
        fault = f"expected the series {', '.join(unknown)}" if unknown else "expected DICOM series of parallel slices"
        got = f"got {known}" if known else f"found none: {_reasons(found)}"
        raise InputError("no-series", folder, f"{fault}, {got}", "correct -i, or --series")
    by_folder: dict[Path, list[Stack]] = defaultdict(list)
    for stack in found.stacks:
        by_folder[_case_folder(folder, [header.path for header in stack.slices])].append(stack)
    errors: list[InputError] = []
    cases: dict[str, Stack] = {}
    for place, stacks in sorted(by_folder.items()):
        wanted = [stack for stack in stacks if stack.series_uid in series] or stacks
        name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", place.resolve().name).strip("_.+-")
        if len(wanted) > 1:
            errors.append(_several(place, wanted))
        elif (unsafe := case_id_fault(name)) is not None:
            errors.append(InputError("unsafe-case-id", place, unsafe, "rename the folder"))
        elif name.lower() in (other.lower() for other in cases):
            fault = f"expected a name for each case, got {name} twice where only letters, digits and _.+- are kept"
            errors.append(InputError("duplicate-case", place, fault, "rename the folder"))
        else:
            cases[name] = wanted[0]
    if errors:
        raise InputErrors(errors)
    _tell_left_out(folder, found, set(by_folder))
    return cases


def write_cases(
    cases: Mapping[str, Stack], output: Path, recipe: Recipe, *, num_workers: int | None = None, progress: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write ``CASE_0000``, ``CASE_0001``, ... of each case, in the geometry of its series.

    What is doubtful of a series is named in the log: missing and repeated slices, gantry tilt, other units.

    Args:
        cases: from `find_cases`.
        output: an empty folder.
        recipe: what is made of a series.
        num_workers: processes, None for one a core.
        progress: show a progress bar.

    Returns:
        By case what a prediction says of its series, without any text of the patient's: ``series_uid``, the number of
        ``slices``, and what it was ``resampled_for``; and the content of conversion_report.json.

    Raises:
        InputErrors: every fault of every series.
    """
    from nnunet_multitask.engines.local import map_in_order

    outcomes = map_in_order(
        _WriteCase(output, recipe),
        cases.items(),
        num_workers=num_workers,
        description="read DICOM",
        unit="series",
        progress=progress,
    )
    done = dict(zip(cases, outcomes, strict=True))
    faults = [fault for outcome in done.values() for fault in outcome.faults]
    if faults:
        raise InputErrors(faults)
    sources: dict[str, Any] = {}
    warnings = []
    for case_id, outcome in done.items():
        facts = outcome.facts
        sources[case_id] = {
            "series_uid": cases[case_id].series_uid,
            "slices": facts["slices"],
            "resampled_for": facts["resampled_for"],
        }
        for warning in (*_tilt_warnings(case_id, facts), *outcome.warnings):
            logger.warning("WARN %s", warning)
            warnings.append(str(InputError(warning.code, case_id, warning.fault, warning.remedy)))
    report = {
        "version": 1,
        "converter": CONVERTER,
        "options": {**asdict(recipe.channels), "windows": list(recipe.channels.windows)},
        "channels": describe_channels(recipe.channels, recipe.source_names[0]),
        "counts": {"images": len(cases)},
        "warnings": warnings,
        "images": {case_id: dict(outcome.facts) for case_id, outcome in done.items()},
    }
    return sources, report


@dataclass(frozen=True)
class _WriteCase:
    """Reads a series and writes its channels; runs in a worker."""

    folder: Path
    recipe: Recipe

    def __call__(self, item: tuple[str, Stack]) -> Outcome:
        from nnunet_multitask.dataset_conversion.dicom_volume import read_stack
        from nnunet_multitask.files import write_volume
        from nnunet_multitask.plausibility import intensity_warning

        case_id, stack = item
        try:
            read = read_stack(stack)
            odd = intensity_warning(read.volume, stack.slices[0].modality)
            for index, channel in enumerate(make_channels(read.volume, self.recipe.channels)):
                write_volume(channel, self.folder / f"{case_id}_{index:04d}{self.recipe.file_ending}")
        except InputErrors as errors:
            return Outcome(faults=errors.errors)
        except InputError as error:
            return Outcome(faults=(error,))
        return Outcome(read.facts, read.inputs, (*read.volume.warnings, *([odd] if odd else [])))


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:  # a link that leads nowhere, a pipe
        return False
    return head[128:] == b"DICM" or head[:4] in (b"\x08\x00\x05\x00", b"\x08\x00\x00\x00", b"\x08\x00\x08\x00")


def _case_folder(folder: Path, paths: Sequence[Path]) -> Path:
    """Return the subfolder that holds all files, or the folder itself where none does."""
    firsts = {path.relative_to(folder).parts[0] if path.parent != folder else "" for path in paths}
    return folder / firsts.pop() if len(firsts) == 1 else folder


def _several(place: Path, stacks: Sequence[Stack]) -> InputError:
    listed = "; ".join(map(_shown, stacks[:_LISTED])) + (" and more" if len(stacks) > _LISTED else "")
    one = len({stack.series_uid for stack in stacks}) == 1
    fault = f"expected one series for a case, got {len(stacks)}{' stacks of one' if one else ''}: {listed}"
    remedy = "give each stack a folder of its own" if one else "name one with --series UID, or give each its own folder"
    return InputError("several-series", place, fault, remedy)


def _shown(stack: Stack) -> str:
    first = stack.slices[0]
    thick = "" if first.slice_thickness_mm is None else f" of {first.slice_thickness_mm:g} mm"
    kernel = f", {first.kernel}" if first.kernel else ""
    return f"{stack.series_uid} ({first.modality}, {len(stack.slices)} slices{thick}{kernel})"


def _reasons(found: Discovery) -> str:
    reasons = Counter(item.fault for item in found.left_out)
    return "; ".join(f"{fault} ({counted(n, 'file')})" for fault, n in reasons.most_common(_LISTED)) or "no file"


def _tell_left_out(folder: Path, found: Discovery, taken: Collection[Path]) -> None:
    """Name the subfolders that become no case: each might be a patient whom nobody would miss in the worklist."""
    lost: dict[Path, Counter[str]] = defaultdict(Counter)
    for item in found.left_out:
        place = _case_folder(folder, [Path(item.where)])
        if item.code != "not-dicom" and place not in taken:
            lost[place][item.fault] += 1
    read = {_case_folder(folder, [header.path]) for stack in found.stacks for header in stack.slices}
    for place in folder.iterdir():
        if place.is_dir() and not place.name.startswith(".") and place not in read and place not in lost:
            lost[place]["it holds no DICOM file"] = 0
    for place, reasons in sorted(lost.items()):
        fault = "; ".join(f"{text} ({counted(n, 'file')})" if n else text for text, n in reasons.items())
        logger.warning("WARN %s", InputError("no-series", place, fault, "nothing of it is predicted"))


def _tilt_warnings(case_id: str, facts: Mapping[str, Any]) -> list[InputError]:
    if not facts["resampled_for"]:
        return []
    fault = f"expected even slices at right angles to their stack, got {' and '.join(facts['resampled_for'])}"
    if "gantry-tilt" in facts["resampled_for"]:
        fault += f" ({abs(facts['tilt_degrees']):.1f} degrees)"
    remedy = "resampled to an upright grid, on which the mask lies, too"
    return [InputError("resampled", f"case {case_id}", fault, remedy)]
