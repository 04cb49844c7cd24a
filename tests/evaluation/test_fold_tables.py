"""The files of the folds of a model as one table: which folds, of which model, how well it classifies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.fold_tables import folds_of_model, join_documents, score_table
from nnunet_multitask.evaluation.out_of_fold import target_tables
from nnunet_multitask.evaluation.predictions import parse_classification

MODEL = {"trainer": "T", "plans": "P", "configuration": "2d"}
TARGETS = {"blood": {"type": "binary", "classes": ["no", "yes"]}}


def write_fold(folder: Path, fold: int | str, cases: dict[str, tuple[float, str | None]], **model: Any) -> Path:
    """Write the file of a fold; cases by id, each with the probability of "yes" and its true label."""
    entries = {
        case_id: {
            "targets": {"blood": {"probabilities": {"no": 1 - p, "yes": p}, "decision": "yes" if p >= 0.5 else "no"}},
            "fold": fold,
            "reference": {} if label is None else {"blood": label},
        }
        for case_id, (p, label) in cases.items()
    }
    known = {**MODEL, "folds": [fold], "checkpoint_sha256": {str(fold): f"hash of {fold}"}, **model}
    path = folder / f"fold_{fold}" / "validation" / "classification.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"version": 1, "model": known, "targets": TARGETS, "cases": entries}))
    return path


def test_the_folds_become_one_table(tmp_path: Path) -> None:
    write_fold(tmp_path, 1, {"a": (0.2, "no"), "d": (0.9, "yes")})
    write_fold(tmp_path, 0, {"c": (0.6, "no"), "b": (0.7, "yes"), "x": (0.5, None)})
    document = join_documents(folds_of_model(tmp_path, num_folds=2))
    assert document["model"] == {**MODEL, "folds": [0, 1], "checkpoint_sha256": {"0": "hash of 0", "1": "hash of 1"}}
    assert {case_id: case["fold"] for case_id, case in document["cases"].items()} == {
        "a": 1, "b": 0, "c": 0, "d": 1, "x": 0,
    }  # fmt: skip
    assert document["cases"]["d"]["reference"] == {"blood": "yes"}
    score = score_table(document, tmp_path)["blood"]
    assert (score["n"], score["missing_labels"]) == (4, 1)
    assert (score["auc"], score["accuracy"], score["balanced_accuracy"]) == (1.0, 0.75, 0.75)
    assert score["auc_by_fold"] == {"0": 1.0, "1": 1.0}


def test_the_pooled_auc_may_lie_below_that_of_each_fold(tmp_path: Path) -> None:
    """One model says 0.1 and 0.2, the other 0.8 and 0.9: each ranks its own two cases rightly."""
    write_fold(tmp_path, 0, {"a": (0.1, "no"), "b": (0.2, "yes")})
    write_fold(tmp_path, 1, {"c": (0.8, "no"), "d": (0.9, "yes")})
    score = score_table(join_documents(folds_of_model(tmp_path, num_folds=2)), tmp_path)["blood"]
    assert score["auc"] == 0.75
    assert score["auc_by_fold"] == {"0": 1.0, "1": 1.0}


def test_missing_folds_are_refused_unless_the_others_are_named(tmp_path: Path) -> None:
    write_fold(tmp_path, 0, {"a": (0.1, "no")})
    write_fold(tmp_path, 2, {"b": (0.1, "no")})
    with pytest.raises(InputError, match=r"\[missing-folds\] .*folds 0, 1, 2, found none of 1 -> .*: --folds 0 2$"):
        folds_of_model(tmp_path, num_folds=3)
    with pytest.raises(InputError, match="folds 0, 1, 2, 3, 4, found none of 1, 3, 4"):
        folds_of_model(tmp_path)
    assert list(folds_of_model(tmp_path, [2, 0], 3)) == [2, 0]
    with pytest.raises(InputError, match=r"found none of 1 "):
        folds_of_model(tmp_path, [1], 3)


def test_fold_all_is_no_fold(tmp_path: Path) -> None:
    write_fold(tmp_path, "all", {"a": (0.1, "no")})
    with pytest.raises(
        InputError, match=r"\[not-out-of-fold\] .*found fold all, which is trained on what it validates"
    ):
        folds_of_model(tmp_path)


def test_folds_of_different_models_are_refused(tmp_path: Path) -> None:
    files = {
        0: write_fold(tmp_path, 0, {"a": (0.1, "no")}),
        1: write_fold(tmp_path, 1, {"b": (0.1, "no")}, trainer="U", plans="Q"),
    }
    expected = (
        r"\[other-model\] .*fold_1.*the model of fold 0 \(trainer T, plans P\), got another one \(trainer U, plan"
    )
    with pytest.raises(InputErrors, match=expected):
        join_documents(files)


def test_folds_of_other_settings_or_checkpoints_are_refused(tmp_path: Path) -> None:
    settings = {"epochs": 5, "patch_size": [8, 8]}
    files = {
        0: write_fold(tmp_path, 0, {"a": (0.1, "no")}, checkpoint="checkpoint_final.pth", settings=settings),
        1: write_fold(tmp_path, 1, {"b": (0.1, "no")}),  # of an earlier release: says neither
        2: write_fold(tmp_path, 2, {"c": (0.1, "no")}, checkpoint="checkpoint_best.pth", settings=settings),
        3: write_fold(tmp_path, 3, {"d": (0.1, "no")}, settings={"dropout": 0.5, "patch_size": [8, 8]}),
    }
    assert join_documents({fold: files[fold] for fold in (0, 1)})["model"]["settings"] == settings
    with pytest.raises(InputErrors) as caught:
        join_documents(files)
    assert [error.fault for error in caught.value.errors] == [
        "expected the model of fold 0 (checkpoint checkpoint_final.pth), got another one (checkpoint "
        "checkpoint_best.pth)",
        "expected the model of fold 0 (epochs 5, dropout as by default), got another one (epochs as by default, "
        "dropout 0.5)",
    ]


def test_the_interval_is_over_the_patients_that_the_table_names(tmp_path: Path) -> None:
    """Two cases of a patient say little more than one, so that the interval is wider."""
    cases = {f"{kind}{i}": (p, kind) for kind, p in (("no", 0.1), ("yes", 0.9)) for i in range(10)}
    path = write_fold(tmp_path, 0, {**cases, "no_x": (0.95, "no"), "yes_x": (0.05, "yes")})
    alone = score_table(join_documents({0: path}), tmp_path)["blood"]["auc_interval"]
    document = json.loads(path.read_text())
    for case_id, entry in document["cases"].items():
        if case_id[-1].isdigit():
            entry["group"] = f"{case_id[:-1]}-{int(case_id[-1]) // 2}"
    path.write_text(json.dumps(document))
    joined = join_documents({0: path})
    assert joined["cases"]["no3"]["group"] == "no-1"
    grouped = score_table(joined, tmp_path)["blood"]["auc_interval"]
    assert grouped[0] < alone[0] - 0.01
    table = target_tables(parse_classification(joined, path))["blood"]
    assert len(set(table.patients)) == 12


def test_a_file_in_the_folder_of_another_fold_is_refused(tmp_path: Path) -> None:
    path = write_fold(tmp_path, 0, {"a": (0.1, "no")})
    with pytest.raises(InputErrors, match=r"\[other-fold\] .*expected cases of fold 1, got some of fold 0"):
        join_documents({1: path})
