"""Trained models by name: folds are found, named where missing, joined out of fold."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.predictions import read_classification
from nnunet_multitask.evaluation.trained_models import find_trained_model, join_trained_model, read_splits

NAME = "nnUNetTrainer__nnUNetPlans__2d"
TARGETS = {"blood": {"type": "binary", "classes": ["no", "yes"]}}


def write_fold(results: Path, fold: int | str, cases: str, *, classes: bool = False) -> None:
    folder = results / NAME / f"fold_{fold}" / "validation"
    folder.mkdir(parents=True)
    for case_id in cases:
        (folder / f"{case_id}.nii.gz").write_text(case_id)
    if classes:
        prediction = {"blood": {"probabilities": {"no": 0.4, "yes": 0.6}, "decision": "yes"}}
        document = {"version": 1, "targets": TARGETS, "cases": {case_id: {"targets": prediction} for case_id in cases}}
        (folder / "classification.json").write_text(json.dumps(document))


def test_folds_are_joined_out_of_fold(tmp_path: Path) -> None:
    write_fold(tmp_path, 0, "ab", classes=True)
    write_fold(tmp_path, 1, "c", classes=True)
    write_fold(tmp_path, "all", "abc")  # its cases were trained on
    (tmp_path / NAME / "plans.json").write_text("{}")
    (tmp_path / NAME / "fold_1" / "checkpoint_final.pth").write_bytes(b"weights")
    model = find_trained_model(tmp_path, NAME, ".nii.gz", folds=[0, 1])
    assert model.metadata == {
        "trainer": "nnUNetTrainer",
        "plans": "nnUNetPlans",
        "configuration": "2d",
        "folds": [0, 1],
        "checkpoint_sha256": {"1": hashlib.sha256(b"weights").hexdigest()},
        "out_of_fold": True,
    }
    for _ in range(2):  # a second time replaces the first
        join_trained_model(model, tmp_path / "joined")
    names = sorted(path.name for path in (tmp_path / "joined").iterdir())
    assert names == ["a.nii.gz", "b.nii.gz", "c.nii.gz", "classification.json", "plans.json"]
    assert (tmp_path / "joined" / "c.nii.gz").read_text() == "c"
    assert read_classification(tmp_path / "joined" / "classification.json").folds == {"a": 0, "b": 0, "c": 1}


def test_the_checkpoint_is_the_one_that_the_predictions_name(tmp_path: Path) -> None:
    write_fold(tmp_path, 0, "a", classes=True)
    (tmp_path / NAME / "fold_0" / "checkpoint_final.pth").write_bytes(b"weights")
    path = tmp_path / NAME / "fold_0" / "validation" / "classification.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "model": {"checkpoint_sha256": {"0": "of checkpoint_best"}}}))
    model = find_trained_model(tmp_path, NAME, ".nii.gz", folds=[0])
    assert model.metadata["checkpoint_sha256"] == {"0": "of checkpoint_best"}


def test_missing_folds_are_named(tmp_path: Path) -> None:
    write_fold(tmp_path, 0, "a")
    write_fold(tmp_path, 2, "")
    with pytest.raises(InputError, match=r"folds 0, 1, 2, found none of 1, 2 -> .* --folds 0$"):
        find_trained_model(tmp_path, NAME, ".nii.gz", splits=[{"train": [], "val": []}] * 3)
    with pytest.raises(InputError, match="found none of 1, 2, 3, 4"):
        find_trained_model(tmp_path, NAME, ".nii.gz")
    assert list(find_trained_model(tmp_path, NAME, ".nii.gz", folds=[0]).masks) == [0]


def test_a_case_in_two_folds_or_in_training_is_refused(tmp_path: Path) -> None:
    write_fold(tmp_path, 0, "ab")
    write_fold(tmp_path, 1, "bc")
    splits = [{"train": ["c"], "val": ["a", "b"]}, {"train": ["a", "c"], "val": ["b"]}]
    with pytest.raises(InputErrors) as caught:
        find_trained_model(tmp_path, NAME, ".nii.gz", splits=splits)
    assert [(error.code, Path(error.where).name) for error in caught.value.errors] == [
        ("case-in-two-folds", "b.nii.gz"),
        ("not-out-of-fold", "c.nii.gz"),
    ]


def test_an_unknown_model_names_those_there_are(tmp_path: Path) -> None:
    write_fold(tmp_path, 0, "a")
    with pytest.raises(InputError, match=rf"got nnUNetTrainer; there are {NAME}"):
        find_trained_model(tmp_path, "nnUNetTrainer", ".nii.gz")


def test_classes_of_some_folds_only_are_refused(tmp_path: Path) -> None:
    write_fold(tmp_path, 0, "a", classes=True)
    write_fold(tmp_path, 1, "b")
    with pytest.raises(InputError, match="validation folder of every fold, found none in 1"):
        join_trained_model(find_trained_model(tmp_path, NAME, ".nii.gz", folds=[0, 1]), tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_what_is_no_list_of_folds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "splits_final.json").write_text('[{"train": []}]')
    with pytest.raises(InputError, match=r"\[bad-splits\]"):
        read_splits(tmp_path / "splits_final.json")
