"""The sidecar: reading, checking, encoding and writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import (
    Case,
    LabelSidecar,
    Target,
    case_id_fault,
    parse_sidecar,
    read_sidecar,
    salvage_sidecar,
    write_sidecar,
)


def document(**changes: Any) -> dict[str, Any]:
    """A sidecar as it stands in architecture.md, with some top-level entries replaced."""
    return {
        "version": 1,
        "targets": {
            "subtype": {"type": "multiclass", "classes": ["IPH", "IVH"], "description": "kind of bleeding"},
            "findings": {"type": "multilabel", "classes": ["IVH", "IPH", "EDH"], "present_if_label": {"IVH": [1]}},
        },
        "cases": {
            "HEM_bf7891541c": {
                "labels": {"subtype": "IPH", "findings": None},
                "group": "ID_00e394df",
                "split": "train",
            },
            "ICH_049": {
                "labels": {"findings": ["EDH", "IPH"]},
                "attributes": {"age_years": 33},
                "slices": {"findings": [[], ["EDH"], None]},
            },
        },
    } | changes


def messages(document: Any) -> list[str]:
    with pytest.raises(InputErrors) as caught:
        parse_sidecar(document, "class_labels.json")
    return [str(error) for error in caught.value.errors]


def test_reads_what_the_architecture_shows() -> None:
    sidecar = parse_sidecar(document(), "x")
    assert sidecar.targets["subtype"] == Target("subtype", "multiclass", ("IPH", "IVH"), "kind of bleeding")
    assert sidecar.targets["findings"].present_if_label == {"IVH": (1,)}
    assert sidecar.targets["findings"].min_voxels == 10
    assert sidecar.cases["HEM_bf7891541c"] == Case({"subtype": "IPH"}, "ID_00e394df", "train")
    assert sidecar.cases["ICH_049"].labels == {"findings": ("EDH", "IPH")}
    assert sidecar.cases["ICH_049"].slices == {"findings": ((), ("EDH",), None)}


def test_sidecar_survives_a_file(tmp_path: Path) -> None:
    sidecar = parse_sidecar(document(), "x")
    write_sidecar(sidecar, tmp_path / "class_labels.json")
    assert read_sidecar(tmp_path / "class_labels.json") == sidecar


def test_writing_refuses_faults_and_leaves_nothing(tmp_path: Path) -> None:
    sidecar = LabelSidecar(
        {"subtype": Target("subtype", "multiclass", ("IPH", "IVH"))}, {"a": Case({"subtype": "EDH"})}
    )
    with pytest.raises(InputErrors, match="cases/a/labels/subtype"):
        write_sidecar(sidecar, tmp_path / "class_labels.json")
    assert list(tmp_path.iterdir()) == []


def test_missing_file_has_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[missing-sidecar\] .*class_labels.json.*nnunet-multitask convert"):
        read_sidecar(tmp_path / "class_labels.json")


def test_all_faults_of_meaning_come_at_once() -> None:
    cases = {
        "a": {"labels": {"subtype": "EDH"}},
        "b": {"labels": {"grade": "high"}},
        "c": {"labels": {"findings": "IVH"}},
        "d": {"labels": {"subtype": ["IPH"]}},
        "e": {"labels": {"findings": ["IVH", "IVH"]}},
        "../f": {"labels": {}},
        "g": {"slices": {"findings": [[], ["nothing"]]}},
    }
    assert messages(document(cases=cases)) == [
        "[unknown-class] class_labels.json: cases/a/labels/subtype: expected classes among 'IPH', 'IVH', got 'EDH'"
        " -> correct the label, or declare the class under targets",
        "[unknown-target] class_labels.json: cases/b/labels/grade: expected one of the targets 'subtype', 'findings',"
        " got 'grade' -> declare it under targets, or correct it",
        "[unknown-class] class_labels.json: cases/c/labels/findings: expected a list of classes (multilabel), got 'IVH'"
        ' -> write ["IVH"]',
        "[unknown-class] class_labels.json: cases/d/labels/subtype: expected one class (multiclass), got the list"
        " ['IPH'] -> name one class, or use multilabel",
        "[unknown-class] class_labels.json: cases/e/labels/findings: expected each class once, got ['IVH', 'IVH']"
        " -> remove the duplicate",
        "[unsafe-case-id] class_labels.json: cases/../f: expected at most 200 letters, digits and the signs _ . + -,"
        " not starting with a sign, got '../f' -> rename the case and its files",
        "[unknown-class] class_labels.json: cases/g/slices/findings/1: expected classes among 'IVH', 'IPH', 'EDH',"
        " got 'nothing' -> correct the label, or declare the class under targets",
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"version": 2}, "version: 1 was expected"),
        ({"targets": {}}, "targets: {} should be non-empty"),
        ({"cases": {"a": {"lables": {}}}}, "'lables': did you mean 'labels'?"),
        ({"cases": {"a": {"labels": {"subtype": 1}}}}, "cases/a/labels/subtype: 1 is not of type 'string'"),
        ({"cases": {"a": {"group": ""}}}, "cases/a/group: '' should be non-empty"),
        ({"cases": {"a": {"slices": {"findings": "EDH"}}}}, "cases/a/slices/findings: 'EDH' is not of type 'array'"),
        ({"targets": {"t\n": {"type": "binary", "classes": ["a", "b"]}}}, "targets: 't\\n' does not match"),
    ],
)
def test_faults_of_shape(changes: dict[str, Any], text: str) -> None:
    found = messages(document(**changes))
    assert any(text in message for message in found), found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "cases/a/attributes: expected values that strict JSON can hold, got: Out of range"),
        ({1, 2}, "cases/a/attributes: expected values that strict JSON can hold, got: Object of type set"),
    ],
)
def test_attributes_that_json_cannot_hold(value: Any, text: str, tmp_path: Path) -> None:
    sidecar = LabelSidecar(
        {"subtype": Target("subtype", "multiclass", ("IPH", "IVH"))}, {"a": Case(attributes={"age_years": value})}
    )
    with pytest.raises(InputErrors, match=r"\[bad-attribute\]") as caught:
        write_sidecar(sidecar, tmp_path / "class_labels.json")
    assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_sound_in_a_faulty_document() -> None:
    faulty = document()
    sound = parse_sidecar(document(), "x")
    assert salvage_sidecar(faulty) == (sound, frozenset())
    faulty["targets"]["grade"] = {"type": "binary", "classes": ["a", "a"]}
    faulty["cases"]["ICH_049"]["labels"] |= {"subtype": "SDH", "grade": "a"}
    faulty["cases"]["ICH_049"]["slices"]["findings"][1] = ["SDH"]
    faulty["cases"]["../x"] = {}
    sidecar, lost = salvage_sidecar(faulty) or pytest.fail("the document follows the schema")
    assert lost == {"subtype", "grade", "findings"}
    assert sidecar.targets == sound.targets
    assert sidecar.cases["HEM_bf7891541c"] == sound.cases["HEM_bf7891541c"]
    assert sidecar.cases["ICH_049"].labels == {"findings": ("EDH", "IPH")}
    assert sidecar.cases["ICH_049"].slices == {"findings": ((), None, None)}
    assert len(sidecar.cases) == 2
    assert salvage_sidecar({"version": 1}) is None


@pytest.mark.parametrize("case_id", ["../a", "a/b", "a\0", "a b", "<script>", "=cmd()", "a" * 201, "", ".a", "-a"])
def test_unsafe_case_ids(case_id: str) -> None:
    assert case_id_fault(case_id) is not None


@pytest.mark.parametrize("case_id", ["HEM_bf7891541c", "049", "sub-01.run+2", "a" * 200])
def test_safe_case_ids(case_id: str) -> None:
    assert case_id_fault(case_id) is None


def test_what_is_sound_beside_a_label_that_is_no_text() -> None:
    document = {
        "version": 1,
        "targets": {"subtype": {"type": "multiclass", "classes": ["IPH", "IVH"]}},
        "cases": {"a": {"labels": {"subtype": 1.0}, "group": "p"}, "b": {"labels": {"subtype": "IVH"}, "group": "p"}},
    }
    sidecar, lost = salvage_sidecar(document) or pytest.fail("only a label is at fault")
    assert lost == {"subtype"}
    assert {case_id: (case.labels, case.group) for case_id, case in sidecar.cases.items()} == {
        "a": ({}, "p"),
        "b": ({"subtype": "IVH"}, "p"),
    }
    assert document["cases"]["a"]["labels"] == {"subtype": 1.0}  # the caller's document stays
