"""Out-of-fold tables: folds joined, every case once, labels from the table or from a sidecar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.out_of_fold import find_fold_files, join_folds, target_tables
from nnunet_multitask.evaluation.predictions import read_classification
from nnunet_multitask.labels import Case, LabelSidecar
from nnunet_multitask.targets import Target

SUBTYPE = Target(name="subtype", type="multiclass", classes=("IPH", "IVH"))


def write(path: Path, cases: dict[str, float], classes: tuple[str, ...] = SUBTYPE.classes, **extra: Any) -> Path:
    entries = {
        case_id: {"targets": {"subtype": {"probabilities": {"IPH": 1 - p, "IVH": p}, "decision": "IPH"}}, **extra}
        for case_id, p in cases.items()
    }
    document = {"version": 1, "targets": {"subtype": {"type": "multiclass", "classes": classes}}, "cases": entries}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def test_the_validation_cases_of_all_folds_are_joined(tmp_path: Path) -> None:
    for fold, cases in enumerate(({"a": 0.1, "b": 0.8}, {"c": 0.3})):
        write(tmp_path / f"fold_{fold}" / "validation" / "classification.json", cases, reference={"subtype": "IVH"})
    write(tmp_path / "fold_all" / "validation" / "classification.json", {"a": 0.1})  # trained on what it validates
    files = find_fold_files(tmp_path)
    assert list(files) == [0, 1]
    joined = join_folds(files)
    assert joined.folds == {"a": 0, "b": 0, "c": 1}
    assert joined.path == tmp_path
    table = target_tables(joined)["subtype"]
    assert table.folds == [0, 0, 1]
    assert table.truth.tolist() == [[False, True]] * 3
    assert table.probabilities[:, 1].tolist() == [0.1, 0.8, 0.3]
    assert table.patients == ["case a", "case b", "case c"]


def test_labels_and_patients_come_from_the_sidecar(tmp_path: Path) -> None:
    path = write(tmp_path / "classification.json", {"a": 0.1, "b": 0.8, "c": 0.3}, reference={"subtype": "IVH"})
    sidecar = LabelSidecar({"subtype": SUBTYPE}, {"a": Case({"subtype": "IPH"}, "P1"), "b": Case({}, "P2")})
    table = target_tables(read_classification(path), sidecar)["subtype"]
    assert (table.case_ids, table.patients, table.folds, table.missing_labels) == (["a"], ["P1"], None, 2)
    assert table.truth.tolist() == [[True, False]]


def test_no_fold_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[no-out-of-fold-table\].*found none -> .*--classification"):
        find_fold_files(tmp_path)


def test_folds_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "0.json", {"a": 0.1, "b": 0.8})
    second = write(tmp_path / "1.json", {"b": 0.3}, ("IVH", "IPH"))
    with pytest.raises(InputErrors) as caught:
        join_folds({0: first, 1: second})
    assert [error.code for error in caught.value.errors] == ["targets-differ", "case-in-two-folds"]
    assert "case b: expected each case in one fold, got it in the folds 0 and 1" in str(caught.value)


def test_tables_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {"a": 0.1})
    with pytest.raises(InputErrors, match=r"\[missing-references\].*target subtype: .*name the sidecar with --labels"):
        target_tables(read_classification(path))
    other = LabelSidecar({"subtype": Target(name="subtype", type="binary", classes=("IPH", "IVH"))}, {})
    with pytest.raises(InputErrors, match=r"\[classes-differ\].*expected binary IPH, IVH as in the sidecar"):
        target_tables(read_classification(path), other)
    document = json.loads(write(path, {"a": 0.1, "b": 0.2}, reference={"subtype": "IVH"}).read_text())
    document["cases"]["a"]["fold"] = 0
    path.write_text(json.dumps(document))
    with pytest.raises(InputErrors, match=r"\[missing-fold\].*the fold of every case or of none, 1 have none: b"):
        target_tables(read_classification(path))
    document["cases"]["b"] |= {"fold": 1}
    document["cases"]["b"]["targets"]["subtype"]["calibrated"] = True
    path.write_text(json.dumps(document))
    with pytest.raises(InputErrors, match=r"\[already-calibrated\].*got calibrated ones \(case b\)"):
        target_tables(read_classification(path))
