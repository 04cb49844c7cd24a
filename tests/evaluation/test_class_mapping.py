"""Classes of a model in those of another data set: what is taken, what is ambiguous, what is left of the labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.class_mapping import ClassMapping, TargetMapping, read_class_mapping, restrict_sidecar
from nnunet_multitask.labels import Case, LabelSidecar
from nnunet_multitask.targets import Target

MODEL_LABELS = {"background": 0, "IPH": 1, "IVH": 2}
LABELS = {"background": 0, "intraventricular": 1, "intraparenchymal": 2, "subdural": 3}
SUBTYPE = {"subtype": Target("subtype", "multiclass", ("IPH", "IVH"))}
FINDINGS = {"findings": Target("findings", "multilabel", ("intraventricular", "intraparenchymal", "subdural"))}
PAIRS = "IPH=intraparenchymal, IVH=intraventricular"
CLASSES = {"IPH": "intraparenchymal", "IVH": "intraventricular"}


def read(text: str, **changes: Any) -> ClassMapping:
    names = {"model_labels": MODEL_LABELS, "labels": LABELS, "model_targets": SUBTYPE, "targets": FINDINGS, **changes}
    return read_class_mapping(text, **names)


def test_pairs_hold_for_labels_and_the_target_that_has_the_classes() -> None:
    assert read(PAIRS) == ClassMapping(CLASSES, {"subtype": TargetMapping("findings", CLASSES)})
    assert read(PAIRS, model_targets={}).targets == {}


def test_a_file_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps(read(PAIRS).to_json()))
    assert read(str(path)) == read(PAIRS)
    path.write_text('{"targets": {"subtype": 1}}')
    with pytest.raises(InputError, match=r"\[bad-mapping\]"):
        read(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("IPH=intraparenchymal,IPH=subdural", r"\[bad-mapping\].*once for each A"),
        ("IPH=,IVH=x", r"\[bad-mapping\]"),
        ("EDH=subdural", r"\[unknown-class\].*expected classes of the model \(IPH, IVH, background\), got EDH"),
    ],
)
def test_pairs_that_say_nothing_clear_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(text)


def test_two_targets_with_the_classes_are_ambiguous() -> None:
    twice = {**FINDINGS, "kinds": Target("kinds", "multilabel", FINDINGS["findings"].classes)}
    with pytest.raises(InputError, match=r"\[ambiguous-mapping\].*expected one target .* got findings, kinds"):
        read(PAIRS, targets=twice)


def test_what_is_not_mapped_or_not_there_is_named() -> None:
    with pytest.raises(InputErrors, match=r"labels: IVH: expected a label of the data set .* got none") as caught:
        read("IPH=intraparenchymal")
    assert {error.code for error in caught.value.errors} >= {"missing-mapping", "too-few-classes"}
    with pytest.raises(InputErrors, match=r"labels: IVH: .*got epidural"):
        read("IPH=intraparenchymal,IVH=epidural")


def test_regions_are_ambiguous() -> None:
    with pytest.raises(InputErrors, match=r"\[ambiguous-mapping\] labels: IPH: .* got a region"):
        read(PAIRS, model_labels={"background": 0, "IPH": [1, 2], "IVH": 2})


@pytest.mark.parametrize(
    ("source", "target", "classes", "fault"),
    [
        ("multilabel", "multiclass", CLASSES, "several classes may be present"),
        ("multilabel", "multilabel", dict.fromkeys(CLASSES, "subdural"), "their joint probability is unknown"),
        ("multiclass", "multiclass", {"IPH": "subdural", "IVH": "-"}, "its probability would be lost"),
        ("multiclass", "multilabel", {"IPH": "subdural", "IVH": "-"}, "expected two classes of findings or more"),
    ],
)
def test_types_that_do_not_allow_it_are_refused(
    source: Any, target: Any, classes: dict[str, str], fault: str, tmp_path: Path
) -> None:
    document = {"labels": CLASSES, "targets": {"subtype": {"target": "findings", "classes": classes}}}
    (tmp_path / "map.json").write_text(json.dumps(document))
    theirs = {"subtype": Target("subtype", source, ("IPH", "IVH"))}
    ours = {"findings": Target("findings", target, FINDINGS["findings"].classes)}
    with pytest.raises(InputErrors, match=fault):
        read(str(tmp_path / "map.json"), model_targets=theirs, targets=ours)


def test_labels_that_no_model_knows_are_taken_out_of_the_sidecar() -> None:
    kind = Target("kind", "multiclass", FINDINGS["findings"].classes)
    cases = {
        "a": Case({"findings": ("intraventricular", "subdural"), "kind": "subdural"}, "p"),
        "b": Case({"findings": ("subdural",), "kind": "intraventricular"}, slices={"findings": (("subdural",), None)}),
    }
    sidecar = LabelSidecar({**FINDINGS, "kind": kind, "age": Target("age", "binary", ("old", "young"))}, cases)
    targets = {"subtype": TargetMapping("findings", CLASSES), "other": TargetMapping("kind", CLASSES)}
    left = restrict_sidecar(sidecar, ClassMapping(CLASSES, targets))
    assert list(left.targets) == ["findings", "kind"]
    assert left.targets["findings"].classes == ("intraventricular", "intraparenchymal")
    assert left.cases["a"] == Case({"findings": ("intraventricular",)}, "p")
    assert left.cases["b"] == Case({"findings": (), "kind": "intraventricular"}, slices={"findings": ((), None)})
