"""Masks and probabilities of a model in the classes of another data set."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.class_mapping import TargetMapping
from nnunet_multitask.evaluation.mapped_predictions import map_models, map_prediction
from nnunet_multitask.evaluation.predictions import Prediction, read_classification
from nnunet_multitask.labels import read_sidecar
from nnunet_multitask.targets import Target

LABELS = {"background": 0, "intraventricular": 4, "intraparenchymal": 5, "subdural": 6}
PAIRS = "IPH=intraparenchymal,IVH=intraventricular"


def write_labels(folder: Path) -> Path:
    sidecar = json.loads((folder / "class_labels.json").read_text())
    classes = ["intraventricular", "intraparenchymal", "subdural"]
    sidecar["targets"] = {"findings": {"type": "multilabel", "classes": classes}}
    for entry in sidecar["cases"].values():
        entry["labels"] = {"findings": ["intraventricular", "subdural"]}
    path = folder / "other_labels.json"
    path.write_text(json.dumps(sidecar))
    return path


def test_masks_classes_and_sidecar(cohort: Path, tmp_path: Path) -> None:
    for name in ("model", "baseline"):
        (cohort / name / "dataset.json").write_bytes((cohort / "dataset.json").read_bytes())
    folders = {name: cohort / name for name in ("baseline", "model")}
    sidecar = read_sidecar(write_labels(cohort))
    written, left, document = map_models(
        PAIRS, folders, tmp_path / "mapped", labels=LABELS, sidecar=sidecar, file_ending=".nii.gz"
    )
    before, after = (np.asarray(nibabel.load(f / "c1.nii.gz").dataobj) for f in (folders["model"], written["model"]))
    np.testing.assert_array_equal(after, np.array([0, 5, 4])[before])
    found = read_classification(written["model"] / "classification.json").cases["c1"]["findings"]
    assert found.probabilities == {"intraventricular": 0.9, "intraparenchymal": pytest.approx(0.1)}
    assert found.decision == ("intraventricular",)
    assert not (written["baseline"] / "classification.json").exists()
    assert left is not None
    assert left.cases["c1"].labels == {"findings": ("intraventricular",)}
    assert document["folders"] == {name: str(folder) for name, folder in folders.items()}
    assert document["not_covered"] == {"labels": ["subdural"], "targets": {"findings": ["subdural"]}}


def test_exclusive_classes_that_become_one_add_up() -> None:
    source = Target("kind", "multiclass", ("a", "b", "c"))
    prediction = Prediction({"a": 0.3, "b": 0.3, "c": 0.4}, "c")
    to = TargetMapping("side", {"a": "left", "b": "left", "c": "right"})
    probabilities, decision = map_prediction(prediction, source, to, Target("side", "binary", ("right", "left")))
    assert probabilities == {"right": 0.4, "left": 0.6}
    assert decision == "left"


def test_a_model_must_tell_its_labels(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[missing-dataset-json\] .*baseline"):
        map_models(
            PAIRS,
            {"baseline": cohort / "baseline"},
            tmp_path,
            labels=LABELS,
            sidecar=None,
            file_ending=".nii.gz",
        )
