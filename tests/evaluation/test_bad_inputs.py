"""Bad masks, classes and case sets, and the answer that each gets: the code, and what to do."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.comparison import compare_folders
from nnunet_multitask.evaluation.folders import evaluate_folders
from nnunet_multitask.evaluation.label_agreement import reference_contradictions
from nnunet_multitask.labels import Case, LabelSidecar, read_sidecar
from nnunet_multitask.targets import Target

LABELS = {"background": 0, "IPH": 1, "IVH": 2}


def evaluate(cohort: Path, **options: Any) -> dict[str, Any]:
    return evaluate_folders(cohort / "labels", cohort / "model", labels=LABELS, **options)


def change(cohort: Path, write_nifti: Callable[..., Path], how: Callable[..., Any]) -> None:
    """Replace the predicted mask of c2 by what `how` makes of its array (Z, Y, X) and affine."""
    path = cohort / "model" / "c2.nii.gz"
    image = nibabel.load(path)
    array, affine = how(np.asarray(image.dataobj).T.copy(), image.affine.copy())
    write_nifti(path, array, affine)


def moved(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    affine[:3, 3] += [0, 0, 0.01]
    return array, affine


@pytest.mark.parametrize(
    ("how", "code", "fault"),
    [
        (lambda a, f: (a[1:], f), "shape-differs", r"expected the shape \(z, y, x\) \(6, 20, 24\)"),  # 15
        (moved, "geometry-differs", "within 0.001 mm, got corners 0.01 mm apart"),  # 16
        (lambda a, f: (a, f @ np.diag([-1, 1, 1, 1])), "geometry-differs", "mm apart"),  # 17, the direction
        (lambda a, f: (a * 3, f), "unknown-mask-value", r"expected the values \[0, 1, 2\], got 3 \("),  # 18
        (lambda a, f: (a * np.float32(0.6), f), "non-integer-mask", "expected integers, got 0.6"),
        (lambda a, f: (np.where(a, np.float32(np.nan), 0), f), "not-finite", "NaN or infinite"),
    ],
)
def test_masks_that_cannot_be_held_against_each_other(
    cohort: Path, write_nifti: Callable[..., Path], how: Callable[..., Any], code: str, fault: str
) -> None:
    change(cohort, write_nifti, how)
    with pytest.raises(InputErrors, match=fault) as caught:
        evaluate(cohort)
    assert [(error.code, "c2.nii.gz" in str(error.where)) for error in caught.value.errors] == [(code, True)]
    assert caught.value.errors[0].remedy


@pytest.mark.parametrize(
    "how",
    [
        lambda a, f: (a * np.float32(0.9999), f),  # 18: repaired
        lambda a, f: (np.ones_like(a), f),  # 20: fills the array
        lambda a, f: (np.where(np.indices(a.shape)[2] == 0, 1, a).astype(np.uint8), f),  # 20: on the edge
        lambda a, f: (np.pad([[[1]]], [(2, 3), (4, 15), (6, 17)]).astype(np.uint8), f),  # 22: one voxel
    ],
)
def test_unusual_masks_are_scored(cohort: Path, write_nifti: Callable[..., Path], how: Callable[..., Any]) -> None:
    change(cohort, write_nifti, how)
    document = evaluate(cohort)
    json.dumps(document, allow_nan=False)
    score = document["cases"]["c2"]["foreground"]
    assert score["status"] == "ok"
    assert all(np.isfinite(score[name]) for name in ("dsc", "hd", "hd95", "assd", "nsd"))


def test_a_mask_that_contradicts_its_class_is_named(cohort: Path, caplog: pytest.LogCaptureFixture) -> None:
    sidecar = json.loads((cohort / "class_labels.json").read_text())
    sidecar["targets"] = {"findings": {"type": "multilabel", "classes": ["IPH", "SAH"]}}
    sidecar["targets"]["blood"] = {"type": "binary", "classes": ["no", "yes"], "present_if_label": {"yes": [1, 2]}}
    labels = {"c1": (["IPH"], "no"), "c2": ([], "yes"), "c3": (["IPH", "SAH"], None)}  # all have both labels
    for case_id, (findings, blood) in labels.items():
        sidecar["cases"][case_id]["labels"] = {"findings": findings, "blood": blood}
    (cohort / "class_labels.json").write_text(json.dumps(sidecar))
    (cohort / "model" / "classification.json").unlink()
    with caplog.at_level(logging.WARNING):
        warnings = evaluate(cohort, sidecar=read_sidecar(cohort / "class_labels.json"))["warnings"]
    assert "[same-files]" in warnings.pop(0)  # the model of the cohort is perfect
    assert len(warnings) == 2
    assert "[mask-without-class] case c2" in warnings[0]
    assert "findings without IPH" in warnings[0]
    assert "[mask-without-class] case c1" in warnings[1]
    assert "blood without yes" in warnings[1]
    assert "mask-without-class" in caplog.text


@pytest.mark.parametrize(("labels", "named"), [(["yes", "yes", "yes", "no"], ["c3"]), (["yes", "yes", "no", "no"], [])])
def test_a_binary_class_speaks_of_the_mask_where_most_cases_agree(labels: list[str], named: list[str]) -> None:
    target = Target("blood", "binary", ("no", "yes"))
    cases = {f"c{i}": Case(labels={"blood": label}) for i, label in enumerate(labels)}
    scores = {case_id: {"foreground": {"reference_volume_ml": 1.0}} for case_id in cases}
    found = list(reference_contradictions(scores, {"foreground": (1,)}, LabelSidecar({"blood": target}, cases)))
    assert [error.where for error in found] == [f"case {name}" for name in named]
    scores["c0"]["foreground"]["reference_volume_ml"] = 0.0
    found = list(reference_contradictions(scores, {"foreground": (1,)}, LabelSidecar({"blood": target}, cases)))
    assert found == []  # two of four are against it


def test_case_sets_and_probabilities_that_do_not_fit(cohort: Path) -> None:
    sidecar = read_sidecar(cohort / "class_labels.json")
    classification = json.loads((cohort / "model" / "classification.json").read_text())
    for values, fault in (
        ({"IPH": 0.2, "IVH": 0.2}, "sum"),  # 32
        ({"IPH": -2.2, "IVH": 3.2}, "0 to 1|between 0 and 1|\\[0, 1\\]"),
    ):
        classification["cases"]["c2"]["targets"]["subtype"]["probabilities"] = values
        (cohort / "model" / "classification.json").write_text(json.dumps(classification))
        with pytest.raises(InputErrors, match=fault):
            evaluate(cohort, sidecar=sidecar)
    (cohort / "model" / "classification.json").unlink()
    (cohort / "model" / "c2.nii.gz").unlink()  # 29, 31
    with pytest.raises(InputErrors, match=r"\[missing-prediction\].*c2"):
        evaluate(cohort, missing="stop")
    models = {"base": cohort / "baseline", "multi": cohort / "model"}
    with pytest.raises(InputErrors, match=r"\[different-case-sets\].*absent: c2.*--intersection"):
        compare_folders(cohort / "labels", models, "base", labels=LABELS)
    for path in (cohort / "model").glob("*.nii.gz"):  # 30
        path.rename(path.with_name(path.name.replace(".nii.gz", ".nrrd")))
    with pytest.raises(InputError, match=r"\[no-predictions\].*expected masks such as c1.nii.gz, found c1.nrrd"):
        evaluate(cohort)


@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_cases_that_are_all_alike(cohort: Path, n: int) -> None:
    """33: null with a reason, no NaN."""
    models = {"base": cohort / "model", "multi": cohort / "model"}
    cases = ["c1", "c2"][:n]
    document = compare_folders(cohort / "labels", models, "base", labels=LABELS, case_ids=cases)
    json.dumps(document, allow_nan=False)
    entry = document["comparisons"]["multi"]["foreground"]["dsc"]
    assert entry["paired_t"]["p"] is entry["interval"]["low"] is None
    assert entry["paired_t"]["reason"] == ("n_below_2" if n == 1 else "all_differences_zero")
    assert entry["interval"]["reason"] == "fewer_than_10_units"
    assert (entry["wins"], entry["ties"], entry["losses"]) == (0, n, 0)
