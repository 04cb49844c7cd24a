"""Targets: encoding of labels, JSON, and what contradicts itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.targets import Target

BINARY = Target("ich", "binary", ("healthy", "bleeding"), present_if_label={"bleeding": (1, 2)}, min_voxels=5)
MULTICLASS = Target("subtype", "multiclass", ("IPH", "IVH", "SAH"), description="kind of bleeding")
MULTILABEL = Target("findings", "multilabel", ("IVH", "IPH", "EDH"))


@pytest.mark.parametrize(
    ("target", "label", "outputs", "code"),
    [
        (BINARY, "healthy", 1, (0,)),
        (BINARY, "bleeding", 1, (1,)),
        (MULTICLASS, "SAH", 3, (2,)),
        (MULTILABEL, (), 3, (0, 0, 0)),
        (MULTILABEL, ("EDH", "IVH"), 3, (1, 0, 1)),
    ],
)
def test_encode(target: Target, label: str | tuple[str, ...], outputs: int, code: tuple[int, ...]) -> None:
    assert target.num_outputs == outputs
    assert target.encode(label) == code


def test_encode_names_the_known_classes() -> None:
    with pytest.raises(InputError, match=r"\[unknown-class\] target subtype: .*'IPH', 'IVH', 'SAH', got 'EDH'"):
        MULTICLASS.encode("EDH")


@pytest.mark.parametrize(
    ("label", "remedy"),
    [
        ("iph ", "'iph ': did you mean 'IPH'?"),
        ("I V H", "'I V H': did you mean 'IVH'?"),
        ("EDH", "correct the label, or declare the class under targets"),
    ],
)
def test_encode_guesses_what_was_meant(label: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        MULTICLASS.encode(label)
    assert caught.value.remedy == remedy


@pytest.mark.parametrize(
    ("target", "label", "present"),
    [
        (BINARY, "healthy", ()),
        (BINARY, "bleeding", ("bleeding",)),
        (MULTICLASS, "IPH", ("IPH",)),
        (MULTILABEL, (), ()),
        (MULTILABEL, ("EDH", "IVH"), ("EDH", "IVH")),
    ],
)
def test_present_classes(target: Target, label: str | tuple[str, ...], present: tuple[str, ...]) -> None:
    assert target.present_classes(label) == present


@pytest.mark.parametrize("target", [BINARY, MULTICLASS, MULTILABEL])
def test_target_survives_json(target: Target) -> None:
    assert Target.from_json(target.name, json.loads(json.dumps(target.to_json())), "plans.json") == target


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"type": "multiclass", "classes": ["a", "a"]}, "expected each class once, got ['a'] twice"),
        ({"type": "binary", "classes": ["a", "b", "c"]}, "expected two classes (negative, positive)"),
        ({"type": "multiclass", "classes": ["a", "b"], "present_if_label": {"a": [1]}}, "got multiclass"),
        (
            {"type": "binary", "classes": ["no", "yes"], "present_if_label": {"no": [1]}},
            "expected only 'yes', got 'no'",
        ),
        (
            {"type": "multilabel", "classes": ["a", "b"], "present_if_label": {"c": [1]}},
            "expected only 'a', 'b', got 'c'",
        ),
        ({"type": "multiclass", "classes": ["a"]}, "targets/t/classes: ['a'] is too short"),
        ({"type": "ordinal", "classes": ["a", "b"]}, "targets/t/type: 'ordinal' is not one of"),
        ({"type": "binary", "classes": ["a", " b"]}, "targets/t/classes/1: ' b' does not match"),
        ({"type": "binary", "clases": ["a", "b"]}, "'clases': did you mean 'classes'?"),
        (
            {"type": "binary", "classes": ["a", "unknown"]},
            "targets/t/classes: expected classes of which none is called",
        ),
        ({"type": "binary", "classes": ["a", "b\n"]}, r"targets/t/classes/1: 'b\n' does not match"),
        ({"type": "binary", "classes": ["a", "b\0c"]}, r"targets/t/classes/1: 'b\x00c' does not match"),
        (
            {"type": "multilabel", "classes": ["a", "b"], "min_voxels": 3},
            "targets/t/min_voxels: expected present_if_label beside min_voxels, got none",
        ),
        (
            {"type": "multilabel", "classes": ["a", "b"], "present_if_label": {"a": [0]}},
            "targets/t/present_if_label/a/0: 0 is less than the minimum of 1",
        ),
    ],
)
def test_faults_of_a_target(entry: dict[str, Any], text: str) -> None:
    with pytest.raises(InputErrors) as caught:
        Target.from_json("t", entry, "plans.json")
    assert any(text in str(error) for error in caught.value.errors), str(caught.value)


def test_whole_numbers_of_json_schema_become_integers() -> None:
    entry = {"type": "multilabel", "classes": ["a", "b"], "present_if_label": {"a": [1.0]}, "min_voxels": 3.0}
    target = Target.from_json("t", entry, "plans.json")
    assert json.dumps(target.to_json()).count(".0") == 0
