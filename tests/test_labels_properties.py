"""Sidecars of any content come back from JSON as they went in, and a damaged one is refused by name, never a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_multitask.errors import InputErrors
from nnunet_multitask.labels import Case, LabelSidecar, Target, parse_sidecar, read_sidecar, write_sidecar

TARGET_NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)
CASE_IDS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,30}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=20)
CLASSES = TEXT.map(str.strip).filter(lambda name: name not in ("", "unknown"))
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def targets(draw: st.DrawFn, name: str) -> Target:
    kind = draw(st.sampled_from(("binary", "multiclass", "multilabel")))
    most = 2 if kind == "binary" else 6
    classes = tuple(draw(st.lists(CLASSES, min_size=2, max_size=most, unique=True)))
    ruled = {"binary": classes[1:], "multiclass": (), "multilabel": classes}[kind]
    labels = st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True).map(tuple)
    rules = draw(st.dictionaries(st.sampled_from(ruled), labels)) if ruled else {}
    min_voxels = draw(st.integers(1, 99)) if rules else 10
    return Target(name, kind, classes, draw(st.just("") | TEXT), rules, min_voxels)


@st.composite
def sidecars(draw: st.DrawFn) -> LabelSidecar:
    declared = {name: draw(targets(name)) for name in draw(st.lists(TARGET_NAMES, min_size=1, max_size=3, unique=True))}

    def label(target: Target) -> st.SearchStrategy[Any]:
        one = st.sampled_from(target.classes)
        return st.lists(one, unique=True).map(tuple) if target.type == "multilabel" else one

    cases = {}
    for case_id in draw(st.lists(CASE_IDS, max_size=4, unique=True)):
        known = draw(st.sets(st.sampled_from(sorted(declared))))
        sliced = draw(st.sets(st.sampled_from(sorted(declared))))
        cases[case_id] = Case(
            labels={name: draw(label(declared[name])) for name in known},
            group=draw(st.none() | TEXT),
            split=draw(st.none() | TEXT),
            attributes=draw(st.dictionaries(TEXT, JSON_VALUES, max_size=3)),
            slices={
                name: tuple(draw(st.lists(st.none() | label(declared[name]), max_size=4))) for name in sorted(sliced)
            },
        )
    return LabelSidecar(declared, cases)


@settings(deadline=None, max_examples=60)
@given(sidecar=sidecars())
def test_a_sidecar_survives_its_document(sidecar: LabelSidecar) -> None:
    document = json.loads(json.dumps(sidecar.to_json()))
    assert parse_sidecar(document, "class_labels.json") == sidecar
    assert parse_sidecar(document, "class_labels.json").to_json() == document
    for target in sidecar.targets.values():
        assert Target.from_json(target.name, target.to_json(), "plans.json") == target
        for case in sidecar.cases.values():
            if target.name in case.labels:
                code = target.encode(case.labels[target.name])
                present = set(target.present_classes(case.labels[target.name]))
                assert len(code) == (len(target.classes) if target.type == "multilabel" else 1)
                assert bool(present) == (target.type == "multiclass" or any(code))


@settings(deadline=None, max_examples=15)
@given(sidecar=sidecars())
def test_a_sidecar_survives_its_file(sidecar: LabelSidecar, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = Path(tmp_path_factory.mktemp("sidecar")) / "class_labels.json"
    write_sidecar(sidecar, path)
    assert read_sidecar(path) == sidecar


@settings(deadline=None, max_examples=60)
@given(sidecar=sidecars(), data=st.data())
def test_any_damage_is_refused_by_name_or_is_none(sidecar: LabelSidecar, data: st.DataObject) -> None:
    """Any part of the document replaced by any JSON value is either still a sidecar or refused with its place."""
    document = json.loads(json.dumps(sidecar.to_json()))
    place: Any = document
    while True:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(list(keys)))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(JSON_VALUES)
    assert all(fault.startswith("class_labels.json") for fault in faults(document))


def faults(document: Any) -> list[str]:
    try:
        parse_sidecar(document, "class_labels.json")
    except InputErrors as errors:
        return [error.where for error in errors.errors] or ["refused without a fault"]
    return []
