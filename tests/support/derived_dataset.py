"""A dataset like the micro dataset, with other masks, labels or configurations, preprocessed by nnU-Net in-process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

SHARED = ("class_labels.json", "imagesTr", "imagesTs", "labelsTs")


def derive_dataset(
    micro: Any,
    folder: Path,
    *,
    configurations: Mapping[str, Mapping[str, Any]] | None = None,
    labels: Mapping[str, Any] | None = None,
    remask: Callable[[str, np.ndarray], np.ndarray] | None = None,
    preprocess: Sequence[str] = ("3d_fullres",),
    schedule: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Make raw and preprocessed data under ``folder`` and return nnU-Net's variables for them.

    Args:
        micro: the micro dataset, whose plans ``micro``, images and folds are used.
        folder: an empty folder.
        configurations: configurations of the plans to add, or to change.
        labels: of dataset.json.
        remask: case id and mask (Z, Y, X) to the new mask; by default all masks stay.
        preprocess: configurations to preprocess.
        schedule: settings of the schedule that differ from the plans'.
    """
    variables = {**micro.variables, **{name: str(folder / name) for name in ("nnUNet_raw", "nnUNet_preprocessed")}}
    variables["nnUNet_results"] = str(folder / "nnUNet_results")
    raw, preprocessed = (Path(variables[name]) / micro.name for name in ("nnUNet_raw", "nnUNet_preprocessed"))
    (raw / "labelsTr").mkdir(parents=True)
    preprocessed.mkdir(parents=True)
    Path(variables["nnUNet_results"]).mkdir()
    for name in SHARED:
        (raw / name).symlink_to(micro.raw / name)
    dataset = json.loads((micro.raw / "dataset.json").read_text())
    dataset["labels"] = dict(labels or dataset["labels"])
    if any(isinstance(values, list) for values in dataset["labels"].values()):
        dataset["regions_class_order"] = [1, 2]
    plans = json.loads((micro.preprocessed / "micro.json").read_text())
    for name, changed in (configurations or {}).items():
        plans["configurations"][name] = {**plans["configurations"].get(name, {}), **changed}
    plans["multitask"]["schedule"].update(schedule or {})
    for target in (raw, preprocessed):
        (target / "dataset.json").write_text(json.dumps(dataset))
    (preprocessed / "micro.json").write_text(json.dumps(plans))
    for name in ("splits_final.json", "dataset_fingerprint.json"):
        (preprocessed / name).write_bytes((micro.preprocessed / name).read_bytes())
    for path in (micro.raw / "labelsTr").iterdir():
        mask = SimpleITK.ReadImage(str(path))
        array = SimpleITK.GetArrayFromImage(mask)
        new = SimpleITK.GetImageFromArray(array if remask is None else remask(path.name[:-7], array))
        new.CopyInformation(mask)
        SimpleITK.WriteImage(new, str(raw / "labelsTr" / path.name))
    (preprocessed / "gt_segmentations").symlink_to(raw / "labelsTr")
    manager = PlansManager(plans)
    for name in preprocess:
        settings = manager.get_configuration(name)
        output = preprocessed / settings.data_identifier
        output.mkdir()
        preprocessor = settings.preprocessor_class(verbose=False)
        for path in (raw / "labelsTr").iterdir():
            case_id = path.name[:-7]
            images = [str(raw / "imagesTr" / f"{case_id}_0000.nii.gz")]
            preprocessor.run_case_save(str(output / case_id), images, str(path), manager, settings, dataset)
    return variables
