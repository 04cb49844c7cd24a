"""Folds: stratified by class, whole patients, deterministic."""

from __future__ import annotations

import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import Case, LabelSidecar, Target
from nnunet_multitask.splits import class_counts, fold_counts, make_splits

TARGET = Target("subtype", "multiclass", ("IPH", "IVH"))


def sidecar(cases: dict[str, Case]) -> LabelSidecar:
    return LabelSidecar({"subtype": TARGET}, cases)


def labelled(**counts: int) -> LabelSidecar:
    """Cases of one patient each: ``IPH=3`` gives IPH_0 ... IPH_2; the class "unknown" has no label."""
    cases = {}
    for name, count in counts.items():
        for index in range(count):
            cases[f"{name}_{index}"] = Case({} if name == "unknown" else {"subtype": name}, group=f"{name}{index}")
    return sidecar(cases)


def test_every_case_is_validated_once_and_trained_otherwise() -> None:
    labels = labelled(IPH=7, IVH=6)
    splits = make_splits(labels, labels.cases, num_folds=3)
    assert sorted(case for fold in splits for case in fold["val"]) == sorted(labels.cases)
    for fold in splits:
        assert sorted(fold["train"] + fold["val"]) == sorted(labels.cases)
        assert fold["train"] == sorted(fold["train"])
        assert fold["val"] == sorted(fold["val"])


def test_classes_and_sizes_differ_by_one_at_most() -> None:
    labels = labelled(IPH=23, IVH=12, unknown=8)
    for part in (lambda fold: fold["val"], lambda fold: [c for c in fold["val"] if c.startswith("IVH")]):
        sizes = [len(part(fold)) for fold in make_splits(labels, labels.cases)]
        assert max(sizes) - min(sizes) <= 1


def test_a_patient_stays_in_one_fold() -> None:
    cases = {f"s{i}": Case({"subtype": TARGET.classes[i % 2]}, group=f"p{i // 3}") for i in range(30)}
    for fold in make_splits(sidecar(cases), cases):
        assert not {cases[c].group for c in fold["train"]} & {cases[c].group for c in fold["val"]}


def test_a_case_without_group_is_its_own() -> None:
    cases = {name: Case({"subtype": "IPH"}) for name in "abcd"}
    assert sorted(len(fold["val"]) for fold in make_splits(sidecar(cases), cases, num_folds=4)) == [1, 1, 1, 1]


def test_cases_that_the_sidecar_does_not_list_are_split_too() -> None:
    splits = make_splits(labelled(IPH=2), ["IPH_0", "IPH_1", "x", "y"], num_folds=2)
    assert all(len({"x", "y"} & set(fold["val"])) == 1 for fold in splits)


def test_deterministic_and_independent_of_order() -> None:
    labels = labelled(IPH=20, IVH=20)
    ids = list(labels.cases)
    assert make_splits(labels, ids) == make_splits(labels, ids[::-1])
    assert make_splits(labels, ids, seed=1) != make_splits(labels, ids, seed=2)


@pytest.mark.parametrize(
    ("num_folds", "text"),
    [
        (5, "got 5 folds of 3 groups -> use --folds 3 or fewer"),
        (1, "got 1 folds of 3 groups -> use --folds 3 or fewer"),
    ],
)
def test_impossible(num_folds: int, text: str) -> None:
    labels = labelled(IPH=3)
    with pytest.raises(InputError, match=text):
        make_splits(labels, labels.cases, num_folds)


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(InputError, match="got 2 folds of 1 groups -> add patients, or train the fold 'all'"):
        make_splits(labelled(IPH=1), ["IPH_0"], 2)


def test_counts() -> None:
    labels = labelled(IPH=2, IVH=1, unknown=1)
    assert class_counts(labels, labels.cases) == {"subtype": {"IPH": 2, "IVH": 1, "unknown": 1}}
    split = {"train": ["IPH_0", "IVH_0"], "val": ["unknown_0"]}
    assert fold_counts(labels, [split]) == [
        {
            "fold": 0,
            "train": {"cases": 2, "targets": {"subtype": {"IPH": 1, "IVH": 1, "unknown": 0}}},
            "val": {"cases": 1, "targets": {"subtype": {"IPH": 0, "IVH": 0, "unknown": 1}}},
        }
    ]


def test_counts_of_a_multilabel_target() -> None:
    target = Target("findings", "multilabel", ("IPH", "IVH"))
    labels = LabelSidecar({"findings": target}, {"a": Case({"findings": ("IPH", "IVH")}), "b": Case({"findings": ()})})
    assert class_counts(labels, ["a", "b"]) == {"findings": {"IPH": 1, "IVH": 1, "unknown": 0}}
