"""A small data set of two models that the tests of folders, comparison and report share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnunet_multitask.documents import write_json
from nnunet_multitask.evaluation.calibrate import fit_calibration
from nnunet_multitask.evaluation.class_evaluation import ClassOptions
from nnunet_multitask.evaluation.comparison import ComparisonOptions, compare_folders
from nnunet_multitask.evaluation.predictions import Classification, Prediction
from nnunet_multitask.evaluation.published_results import beside_published, published_names
from nnunet_multitask.evaluation.triage import triage_models
from nnunet_multitask.labels import read_sidecar
from nnunet_multitask.targets import Target

# voxel (x, y, z) of 2 x 2 x 5 mm to RAS+ mm; stored left to right reversed, as most CT is
AFFINE = np.array([[-2.0, 0, 0, 20], [0, -2.0, 0, 20], [0, 0, 5.0, -10], [0, 0, 0, 1]])


@pytest.fixture
def write_nifti() -> Callable[..., Path]:
    """Return a function that writes a (Z, Y, X) array as NIfTI."""

    def write(path: Path, array: Any, affine: np.ndarray = AFFINE) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(np.asarray(array).T), affine), path)
        return path

    return write


@pytest.fixture
def cohort(tmp_path: Path, write_nifti: Callable[..., Path]) -> Path:
    """Three cases in labels/ and images/, predicted by baseline/ (a voxel off) and model/ (perfect, with classes)."""
    rng = np.random.default_rng(0)
    probabilities = {"c1": 0.9, "c2": 0.2, "c3": 0.4}
    for index, case_id in enumerate(probabilities):
        mask = np.zeros((6, 20, 24), dtype=np.uint8)
        mask[2:4, 5:9, 6 : 11 + index] = 1
        mask[4, 12:15, 3:8] = 2
        write_nifti(tmp_path / "labels" / f"{case_id}.nii.gz", mask)
        write_nifti(tmp_path / "model" / f"{case_id}.nii.gz", mask)
        write_nifti(tmp_path / "baseline" / f"{case_id}.nii.gz", np.roll(mask, 1, axis=2))
        image = np.where(mask > 0, 65, 30) + rng.normal(0, 3, mask.shape)
        write_nifti(tmp_path / "images" / f"{case_id}_0000.nii.gz", image.astype(np.int16))
    dataset = {"labels": {"background": 0, "IPH": 1, "IVH": 2}, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}}
    (tmp_path / "dataset.json").write_text(json.dumps(dataset))
    target = {"type": "multiclass", "classes": ["IPH", "IVH"]}
    cases = {
        case_id: {
            "targets": {"subtype": {"probabilities": {"IPH": 1 - p, "IVH": p}, "decision": "IVH" if p > 0.5 else "IPH"}}
        }
        for case_id, p in probabilities.items()
    }
    classification = {"version": 1, "model": {"trainer": "T"}, "targets": {"subtype": target}, "cases": cases}
    (tmp_path / "model" / "classification.json").write_text(json.dumps(classification))
    labels = {"c1": "IVH", "c2": "IPH", "c3": "IVH"}
    sidecar = {
        "version": 1,
        "targets": {"subtype": target},
        "cases": {case_id: {"labels": {"subtype": label}, "group": case_id} for case_id, label in labels.items()},
    }
    (tmp_path / "class_labels.json").write_text(json.dumps(sidecar))
    return tmp_path


@pytest.fixture(scope="session")
def whole_comparison(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A comparison with everything that the report knows, as JSON: 12 patients, two of whom have two scans."""
    folder = tmp_path_factory.mktemp("whole")
    names = [f"case_{index:02d}" for index in range(14)]
    rng = np.random.default_rng(1)
    target = {"type": "binary", "classes": ["no", "bleeding"]}
    cases, predicted = {}, {}
    for index, name in enumerate(names):
        ill = index % 3 > 0
        mask = np.zeros((6, 24, 24), dtype=np.uint8)
        if ill:
            mask[2 : 4 + index % 2, 5:10, 6 : 8 + index] = 1
            mask[4, 14:17, 3:8] = 2
        baseline, model = np.roll(mask, 2, axis=2), np.roll(mask, 1, axis=2)
        baseline[1, 20:22, 20:22] = 1  # a false alarm in every scan
        if index % 2:
            model[1, 20:22, 20:22] = 1
        image = np.where(mask > 0, 65, 30) + rng.normal(0, 4, mask.shape)
        for kind, array in {"labels": mask, "base": baseline, "multi": model}.items():
            _save(folder / kind / f"{name}.nii.gz", array)
        _save(folder / "images" / f"{name}_0000.nii.gz", image.astype(np.int16))
        label = "bleeding" if ill else "no"
        slices = ["bleeding" if part.any() else "no" for part in mask]
        cases[name] = {
            "labels": {"finding": label},
            "slices": {"finding": slices},
            "group": f"p{min(index, 11)}",
            "attributes": {"scanner": "AB"[index % 2]},
        }
        p = float(np.clip(0.5 + (0.3 if ill else -0.3) + rng.normal(0, 0.2), 0.02, 0.98))
        predicted[name] = {
            "targets": {
                "finding": {
                    "probabilities": {"no": 1 - p, "bleeding": p},
                    "decision": "bleeding" if p >= 0.5 else "no",
                    "threshold": 0.5,
                }
            },
            "slices": {"finding": [p if slices[z] == "bleeding" else p / 3 for z in range(6)]},
            "seconds": 2.0 + index / 10,
        }
    sidecar = {"version": 1, "targets": {"finding": target}, "cases": cases}
    (folder / "class_labels.json").write_text(json.dumps(sidecar))
    model = {"trainer": "nnUNetTrainerMultiTask", "plans": "nnUNetPlans", "configuration": "3d_fullres", "folds": [0]}
    classification = {"version": 1, "model": model, "targets": {"finding": target}, "cases": predicted}
    (folder / "multi" / "classification.json").write_text(json.dumps(classification))
    for kind in ("base", "multi"):
        (folder / kind / "plans.json").write_text('{"dataset_name": "Dataset042_Blood", "plans_name": "nnUNetPlans"}')
    document = compare_folders(
        folder / "labels",
        {"base": folder / "base", "multi": folder / "multi"},
        "base",
        labels={"background": 0, "IPH": 1, "IVH": 2},
        sidecar=read_sidecar(folder / "class_labels.json"),
        images_dir=folder / "images",
        options=ComparisonOptions(dsc_margin=0.05),
        classes={"multi": ClassOptions(calibration=_calibration(folder), operating_point="youden", gate="finding")},
        command="nnunet-multitask compare ...",
    )
    document["published"] = {name: beside_published(name, document) for name in published_names()}
    document["triage"] = triage_models(document, "finding:bleeding", arrivals_per_hour=6.0, minutes_per_scan=15.0)
    document["class_mapping"] = {
        "labels": {"intraparenchymal": "IPH", "subdural": "-"},
        "targets": {"any": {"target": "finding", "classes": {"0": "no", "1": "bleeding"}}},
        "folders": {"base": "elsewhere/base", "multi": "elsewhere/multi"},
        "not_covered": {"labels": ["IVH"], "targets": {"finding": []}},
    }
    document["warnings"] = ["[mask-without-class] case case_00: expected reference mask and class to agree, got voxels"]
    document["case_set"] = {"rule": "intersection", "scored": 14, "left_out": {"base": ["case_98"], "multi": ["x_99"]}}
    return json.dumps(document)


def _save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array.T), AFFINE), path)


def _calibration(folder: Path) -> Path:
    """A calibration of the target "finding" that was fitted on simulated cases, none of them of the comparison."""
    rng = np.random.default_rng(2)
    target = Target("finding", "binary", ("no", "bleeding"))
    found: dict[str, Any] = {}
    labels = {}
    for index in range(200):
        logit = rng.normal(0, 1.5)
        p = 1 / (1 + np.exp(-2 * logit))
        label = "bleeding" if rng.random() < 1 / (1 + np.exp(-logit)) else "no"
        found[f"s{index}"] = {"finding": Prediction({"no": float(1 - p), "bleeding": float(p)}, label)}
        labels[f"s{index}"] = {"finding": label}
    folds = {name: index % 4 for index, name in enumerate(found)}
    model = {"trainer": "nnUNetTrainerMultiTask"}
    table = Classification(folder / "table.json", model, {"finding": target}, found, folds, labels)
    write_json(folder / "calibration.json", fit_calibration(table))
    return folder / "calibration.json"
