"""Patients and images on two sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_multitask.dataset_conversion.case_checks import CaseFiles, CaseFindings
from nnunet_multitask.dataset_conversion.leakage import fold_faults, read_folds, shared_groups, twin_warnings
from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import Case, LabelSidecar, Target

PATH = Path("splits_final.json")
TARGET = Target("t", "multiclass", ("x", "y"))


def sidecar(**groups: str) -> LabelSidecar:
    """Cases of two classes in turn, with groups."""
    cases = {name: Case({"t": "xy"[i % 2]}, group=group) for i, (name, group) in enumerate(groups.items())}
    return LabelSidecar({"t": TARGET}, cases)


def found(case_id: str, digest: str | None, part: str = "training", file: str = "") -> CaseFindings:
    files = CaseFiles(case_id, part, (Path(f"{case_id}_0000.nii.gz"),), None)
    return CaseFindings(files, voxel_digest=digest, file_digests=(file or case_id,))


def test_shared_groups() -> None:
    labels = sidecar(a="P1", b="P2", c="P1", d="P3")
    (warning,) = shared_groups(labels, {"a", "b"}, {"c", "d"}, Path("class_labels.json"))
    assert str(warning) == (
        "[group-in-both-parts] class_labels.json: expected the cases of group P1 on one side, a, c are training and "
        "test cases -> move them, or say so with the results"
    )
    assert list(shared_groups(labels, {"a", "b", "c"}, {"d", "not listed"}, Path("x"))) == []


def test_twins() -> None:
    findings = [
        found("a", "1"),
        found("b", "2", file="B"),
        found("c", "1", "test"),
        found("d", "2", file="B"),
        found("e", None),
        found("f", None),
    ]
    both, double = twin_warnings(findings)
    assert (both.code, double.code) == ("image-in-both-parts", "duplicate-image")
    assert both.fault == "expected every image once, got the same voxels as a, c, in training and test"
    assert double.fault == "expected every image once, got the same file as b, d"


def test_sound_folds() -> None:
    labels = sidecar(a="P1", b="P1", c="P2", d="P2")
    folds = [{"train": ["a", "b"], "val": ["c", "d"]}, {"train": ["c", "d"], "val": ["a", "b"]}]
    assert fold_faults(PATH, folds, set("abcd"), labels, [found(c, c) for c in "abcd"]) == ([], [])


@pytest.mark.parametrize(
    ("fold", "text"),
    [
        (
            {"train": ["a", "b", "z"], "val": ["c", "d"]},
            "[unknown-case] splits_final.json: fold 0: expected training cases, got z without image in imagesTr",
        ),
        (
            {"train": ["a", "b", "c"], "val": ["c", "d"]},
            "[leaking-case] splits_final.json: fold 0: expected every case on one side, got c in training and",
        ),
        (
            {"train": ["a", "d"], "val": ["b", "c"]},
            "[leaking-group] splits_final.json: fold 0: expected every patient on one side, got P1, P2 in training",
        ),
        (
            {"train": ["a"], "val": ["c", "d"]},
            "[class-without-training] splits_final.json: fold 0: targets/t: expected training cases with and without y",
        ),
    ],
)
def test_faults_of_folds(fold: dict[str, list[str]], text: str) -> None:
    labels = sidecar(a="P1", b="P1", c="P2", d="P2")
    errors, _ = fold_faults(PATH, [fold], set("abcd"), labels, [])
    assert any(str(error).startswith(text) for error in errors), errors


def test_the_same_image_in_training_and_validation() -> None:
    findings = [found("a", "1"), found("b", "1"), found("c", "3"), found("d", "4")]
    errors, _ = fold_faults(PATH, [{"train": ["a", "c"], "val": ["b", "d"]}], set("abcd"), None, findings)
    assert [error.code for error in errors] == ["leaking-image"]
    assert "got a in training and b in validation" in errors[0].fault
    assert fold_faults(PATH, [{"train": ["a", "b"], "val": ["c", "d"]}], set("abcd"), None, findings) == ([], [])


def test_a_class_that_no_case_has_is_said_once_and_elsewhere() -> None:
    labels = LabelSidecar({"t": TARGET}, {c: Case({"t": "x"}) for c in "ab"})
    assert fold_faults(PATH, [{"train": ["a"], "val": ["b"]}], set("ab"), labels, []) == ([], [])


def test_a_class_missing_in_validation_is_a_warning() -> None:
    labels = sidecar(a="P1", b="P2", c="P3")
    errors, warnings = fold_faults(PATH, [{"train": ["a", "b"], "val": ["c"]}], set("abc"), labels, [])
    assert errors == []
    assert [warning.code for warning in warnings] == ["class-without-validation"]
    assert "with and without y, got but one kind: its AUC is null" in warnings[0].fault
    assert "fewer folds, or score all folds together" in warnings[0].remedy


def test_a_leak_is_found_without_sure_labels_and_the_remedy_names_the_dataset() -> None:
    labels = sidecar(a="P1", b="P1", c="P2", d="P2")
    folds = [{"train": ["a", "c"], "val": ["b", "d"]}]
    errors, warnings = fold_faults(PATH, folds, set("abcd"), labels, [], "Dataset001_Tiny", {"t"})
    assert [error.code for error in errors] == ["leaking-group"]
    assert "`nnunet-multitask split Dataset001_Tiny --overwrite`" in errors[0].remedy
    assert warnings == []


@pytest.mark.parametrize("text", ['{"train": []}', "[1]", '[{"train": ["a"]}]', '[{"train": ["a"], "val": [1]}]'])
def test_no_folds(tmp_path: Path, text: str) -> None:
    path = tmp_path / "splits_final.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"\[bad-splits\] .*splits_final.json: expected a list of"):
        read_folds(path)
