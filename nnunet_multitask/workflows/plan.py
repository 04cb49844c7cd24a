"""Fingerprint, plans and preprocessing as by nnUNetv2_plan_and_preprocess, the fingerprint from annotated cases only.

nnU-Net takes every voxel above 0 for foreground, hence a mask that is the ignore label everywhere for a scan full of
foreground: with such cases the intensity statistics are those of air and table, and a CT is normalised by them.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.dataset_json_checks import label_values, read_dataset_json, segments
from nnunet_multitask.datasets import find_dataset, required_folder
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import SIDECAR_NAME, read_sidecar, rule_faults
from nnunet_multitask.workflows.annotated_cases import MaskContent, annotated_only, label_only_cases, mask_contents
from nnunet_multitask.workflows.plans_names import check_plans_name

logger = logging.getLogger(__name__)

FINGERPRINT_NAME = "dataset_fingerprint.json"

# processes that nnU-Net's command takes where none are named
_PROCESSES = {"2d": 8, "3d_fullres": 4, "3d_lowres": 8}
_OTHER_PROCESSES = 4


@dataclass(frozen=True)
class PlanOptions:
    """The options of nnUNetv2_plan_and_preprocess, with its defaults.

    Args:
        fingerprint_extractor, planner, preprocessor: names of classes inside nnunetv2.
        fingerprint_processes: for the fingerprint.
        check_integrity: run nnU-Net's own check of the dataset first.
        clean: extract the fingerprint anew where there is one.
        gpu_memory_target_gb, target_spacing, plans_name: None for the planner's own.
        configurations: what is preprocessed; those that the plans lack are passed over.
        processes: for each configuration, or one number for all; None for nnU-Net's own.
        preprocess: whether to preprocess at all.
        verbose, progress: how much is printed.
    """

    fingerprint_extractor: str = "DatasetFingerprintExtractor"
    fingerprint_processes: int = 8
    check_integrity: bool = False
    clean: bool = False
    planner: str = "ExperimentPlanner"
    gpu_memory_target_gb: float | None = None
    preprocessor: str = "DefaultPreprocessor"
    target_spacing: tuple[float, ...] | None = None
    plans_name: str | None = None
    configurations: tuple[str, ...] = ("2d", "3d_fullres", "3d_lowres")
    processes: tuple[int, ...] | None = None
    preprocess: bool = True
    verbose: bool = False
    progress: bool = True


@dataclass(frozen=True)
class Planned:
    """A dataset that was planned.

    Args:
        dataset: its name.
        plans: the file of the plans.
        num_cases: training cases.
        label_only: those whose mask is the ignore label everywhere, which the fingerprint left out.
        configurations: what the plans hold.
    """

    dataset: str
    plans: Path
    num_cases: int
    label_only: tuple[str, ...]
    configurations: tuple[str, ...]


def plan_and_preprocess(datasets: Sequence[str], options: PlanOptions) -> list[Planned]:
    """Do what nnUNetv2_plan_and_preprocess does.

    Datasets without label-only cases get the same files from it. A fingerprint of another number of cases than those
    with a mask is extracted anew, as if by ``clean``.

    Args:
        datasets: names or ids, in ``$nnUNet_raw``.
        options: as for nnU-Net's command.

    Returns:
        What was planned, one for each dataset.

    Raises:
        InputError, InputErrors: a variable, a dataset or its sidecar is at fault, or no case has a mask.
    """
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    raw, preprocessed = required_folder("nnUNet_raw"), required_folder("nnUNet_preprocessed")
    _check_numbers(options)
    if options.plans_name is not None:
        check_plans_name(options.plans_name, "-overwrite_plans_name")
    processes = _processes(options)
    extractor = _find_class("experiment_planning", options.fingerprint_extractor, "-fpe")
    _find_class("experiment_planning", options.planner, "-pl")
    _find_class("preprocessing", options.preprocessor, "-preprocessor_name")
    folders = [find_dataset(raw, dataset) for dataset in datasets]
    ids = [_unique_id(folder) for folder in folders]
    for folder in folders:
        if (folder / SIDECAR_NAME).is_file():
            _check_sidecar(folder)
    contents = [mask_contents(folder, options.fingerprint_processes, options.progress) for folder in folders]
    for folder, content, dataset_id in zip(folders, contents, ids, strict=True):
        _extract_fingerprint(extractor, preprocessed / folder.name, dataset_id, content, options)
    with _at_least_one_thread():
        plans_name = api.plan_experiments(
            ids,
            options.planner,
            options.gpu_memory_target_gb,
            options.preprocessor,
            options.target_spacing,
            options.plans_name,
        )
    for folder in folders:
        _check_configurations(preprocessed / folder.name / f"{plans_name}.json", options.configurations)
    if options.preprocess:
        api.preprocess(ids, plans_name, options.configurations, processes, options.verbose, options.progress)
    return [
        _planned(folder, preprocessed / folder.name / f"{plans_name}.json", content)
        for folder, content in zip(folders, contents, strict=True)
    ]


def _check_numbers(options: PlanOptions) -> None:
    """Refuse numbers with which nnU-Net's functions end in a traceback, or wait for ever."""
    gpu_memory = () if options.gpu_memory_target_gb is None else (options.gpu_memory_target_gb,)
    numbers: dict[str, Sequence[float]] = {
        "-npfp": (options.fingerprint_processes,),
        "-np": options.processes or (),
        "-gpu_memory_target": gpu_memory,
        "-overwrite_target_spacing": options.target_spacing or (),
    }
    for option, values in numbers.items():
        for value in values:
            if not (math.isfinite(value) and value > 0):
                raise InputError("bad-option", option, f"expected numbers above 0, got {value}", "correct it")


def _check_sidecar(folder: Path) -> None:
    """Refuse class labels that training would refuse: hours of preprocessing should not end at a misspelt class."""
    sidecar = read_sidecar(folder / SIDECAR_NAME)
    labels = label_values(read_dataset_json(folder / "dataset.json")["labels"])
    faults = rule_faults(sidecar.targets.values(), segments(labels).values(), folder / SIDECAR_NAME)
    if faults:
        raise InputErrors(faults)


def _check_configurations(plans: Path, wanted: Sequence[str]) -> None:
    """Refuse configurations of which the plans hold none; nnU-Net would pass over all of them without a word."""
    known = read_json(plans)["configurations"]
    if not any(name in known for name in wanted):
        fault = f"expected some of {', '.join(known)}, got {', '.join(wanted)}; nothing is preprocessed"
        raise InputError("missing-configuration", plans, fault, "correct -c")


def _processes(options: PlanOptions) -> list[int]:
    if options.processes is None:
        return [_PROCESSES.get(name, _OTHER_PROCESSES) for name in options.configurations]
    if len(options.processes) not in (1, len(options.configurations)):
        fault = f"expected one number, or one for each of {' '.join(options.configurations)}, got {options.processes}"
        raise InputError("bad-option", "-np", fault, "give as many as with -c")
    return list(options.processes)


def _unique_id(folder: Path) -> int:
    """Return the id by which nnU-Net's functions find this dataset and no other, in any of its three folders."""
    from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets

    dataset_id = int(folder.name[7:10])
    found = sorted(str(name) for name in find_candidate_datasets(dataset_id))
    if found != [folder.name]:
        fault = f"expected one name for the id {dataset_id} in nnU-Net's three folders, got {', '.join(found)}"
        raise InputError("duplicate-dataset-id", folder, fault, "rename or remove the others")
    return dataset_id


def _find_class(package: str, name: str, option: str) -> type[Any]:
    """Return a class of nnU-Net by its name.

    Raises:
        InputError: nnU-Net has none; its own command fails with a traceback then.
    """
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    found = recursive_find_python_class(
        str(Path(nnunetv2.__path__[0]) / package), name, current_module=f"nnunetv2.{package}"
    )
    if found is None:
        fault = f"expected a class of nnunetv2.{package}, found no {name}"
        raise InputError("unknown-class-name", option, fault, "correct the name")
    return found


def _extract_fingerprint(
    extractor: Callable[..., Any],
    preprocessed: Path,
    dataset_id: int,
    contents: Mapping[str, MaskContent],
    options: PlanOptions,
) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset

    label_only = label_only_cases(contents)
    annotated = [case_id for case_id in contents if case_id not in label_only]
    clean = options.clean
    if label_only:
        if not annotated:
            fault = f"expected a case with a mask, got {len(contents)} whose mask is the ignore label everywhere"
            raise InputError("no-annotated-case", preprocessed.name, fault, "add cases with masks")
        logger.info("%s: %d cases without mask are left out of the fingerprint", preprocessed.name, len(label_only))
        extractor = annotated_only(extractor, frozenset(annotated))
        clean = clean or _is_of_other_cases(preprocessed / FINGERPRINT_NAME, len(annotated))
    ignored, foreground = (sum(getattr(contents[c], kind) for c in annotated) for kind in ("ignored", "foreground"))
    if ignored > foreground:
        logger.warning(
            "WARN [partly-ignored] %s: expected more labelled than ignored voxels in the annotated masks, got %d and "
            "%d; nnU-Net's statistics count both as foreground -> see whether the mean in dataset_fingerprint.json is "
            "that of tissue; if not, crop the ignored part away",
            preprocessed.name,
            foreground,
            ignored,
        )
    extract_fingerprint_dataset(
        dataset_id,
        extractor,
        options.fingerprint_processes,
        options.check_integrity,
        clean,
        options.verbose,
        options.progress,
    )


def _is_of_other_cases(fingerprint: Path, num_cases: int) -> bool:
    """Tell whether there is a fingerprint of another number of cases, such as one of the stock command."""
    if not fingerprint.is_file() or len(read_json(fingerprint)["spacings"]) == num_cases:
        return False
    logger.info("%s is of other cases: it is extracted anew", fingerprint)
    return True


@contextmanager
def _at_least_one_thread() -> Iterator[None]:
    """Let nnU-Net plan where ``nnUNet_n_proc_DA`` is 0: it gives torch as many threads, and torch refuses none."""
    name = "nnUNet_n_proc_DA"
    before = os.environ.get(name)
    if before == "0":
        os.environ[name] = "1"
    try:
        yield
    finally:
        if before == "0":
            os.environ[name] = before


def _planned(folder: Path, plans: Path, contents: Mapping[str, MaskContent]) -> Planned:
    from nnunet_multitask.training.supervision import load_sidecar

    if (folder / SIDECAR_NAME).is_file():
        load_sidecar(folder, plans.parent)  # leaves a copy, for machines that have only preprocessed data
    configurations = tuple(read_json(plans)["configurations"])
    return Planned(folder.name, plans, len(contents), label_only_cases(contents), configurations)
