"""Folds: stratified by class, whole patients, deterministic."""

from __future__ import annotations

import pytest

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, LabelSidecar, Target
from nnunet_multitask.splits import (
    check_fold,
    check_splits,
    class_counts,
    fold_counts,
    lacking_classes,
    make_splits,
    official_fold,
    split_warnings,
)

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
        (5, "got 5 folds of 3 groups -> use --folds from 2 to 3"),
        (1, "got 1 folds of 3 groups -> use --folds from 2 to 3"),
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
            "train": {"cases": 2, "groups": 2, "targets": {"subtype": {"IPH": 1, "IVH": 1, "unknown": 0}}},
            "val": {"cases": 1, "groups": 1, "targets": {"subtype": {"IPH": 0, "IVH": 0, "unknown": 1}}},
        }
    ]


def test_counts_of_a_multilabel_target() -> None:
    target = Target("findings", "multilabel", ("IPH", "IVH"))
    labels = LabelSidecar({"findings": target}, {"a": Case({"findings": ("IPH", "IVH")}), "b": Case({"findings": ()})})
    assert class_counts(labels, ["a", "b"]) == {"findings": {"IPH": 1, "IVH": 1, "unknown": 0}}


def test_classes_of_several_targets_are_balanced_at_once() -> None:
    findings = Target("findings", "multilabel", ("IPH", "IVH", "SAH"))
    cases = {
        f"c{i:03d}": Case(
            {
                "subtype": TARGET.classes[i % 7 == 0],
                "findings": tuple(name for name, every in (("IPH", 3), ("IVH", 5), ("SAH", 11)) if i % every == 0),
            },
            group=f"p{i // 2}",
        )
        for i in range(110)
    }
    labels = LabelSidecar({"subtype": TARGET, "findings": findings}, cases)
    splits = make_splits(labels, cases)
    for part in fold_counts(labels, splits):
        assert part["val"]["cases"] == 22
        assert part["val"]["targets"]["findings"]["SAH"] == 2
        assert part["val"]["targets"]["findings"]["IVH"] in (4, 5)
        healthy = [case_id for case_id in splits[part["fold"]]["val"] if cases[case_id].labels["findings"] == ()]
        assert len(healthy) in (10, 11)  # 54 in all
        assert part["val"]["targets"]["subtype"]["IVH"] in (3, 4)


def official(**splits: str | None) -> LabelSidecar:
    return sidecar({name: Case({"subtype": "IPH"}, group=name[0], split=split) for name, split in splits.items()})


def test_official_fold() -> None:
    labels = official(a1="train", b1="Training", c1="val", d1="test")
    assert official_fold(labels, labels.cases, "x") == {"train": ["a1", "b1"], "val": ["c1"]}


def test_official_fold_names_patients_on_both_sides_or_drops_them() -> None:
    labels = official(a1="train", a2="val", b1="train", c1="val")
    with pytest.raises(
        InputErrors, match=r"\[leaking-group\] x: .*got in training and validation: a -> use --drop-leak"
    ):
        official_fold(labels, labels.cases, "x")
    assert official_fold(labels, labels.cases, "x", drop_leaking=True) == {"train": ["b1"], "val": ["a2", "c1"]}


@pytest.mark.parametrize(
    ("splits", "texts"),
    [
        ({"a1": "train", "b1": None, "c1": "third"}, ["got another for b1 \\(none\\), c1 \\(third\\)"]),
        ({"a1": "train", "b1": "test"}, ["expected cases of the split val, got none"]),
        ({"a1": "test"}, ["expected cases of the split train", "expected cases of the split val"]),
    ],
)
def test_official_folds_that_cannot_be(splits: dict[str, str | None], texts: list[str]) -> None:
    labels = official(**splits)
    with pytest.raises(InputErrors) as caught:
        official_fold(labels, labels.cases, "x")
    assert len(caught.value.errors) == len(texts)
    for text, error in zip(texts, caught.value.errors, strict=True):
        with pytest.raises(InputError, match=text):
            raise error


def test_cases_of_an_official_fold_that_the_sidecar_does_not_list() -> None:
    with pytest.raises(InputErrors, match=r"x1 \(none\)"):
        official_fold(official(a1="train", b1="val"), ["a1", "b1", "x1"], "x")


def test_check_fold_names_the_patient() -> None:
    labels = official(a1="train", a2="val", b1="train")
    check_fold(labels, {"train": ["b1"], "val": ["a1", "a2"]}, "splits_final.json")
    with pytest.raises(InputError, match=r"\[leaking-group\] splits_final.json: .* a -> make folds of whole patients"):
        check_fold(labels, {"train": ["a1", "b1"], "val": ["a2"]}, "splits_final.json")
    with pytest.raises(InputError, match="`nnunet-multitask split 7 --overwrite`"):
        check_fold(labels, {"train": ["a1", "b1"], "val": ["a2"]}, "pre/Dataset007_Toy/splits_final.json")


def test_lacking_classes() -> None:
    findings = Target("findings", "multilabel", ("IPH", "IVH", "SAH"))
    cases = {"a": Case({"findings": ("IPH", "IVH")}), "b": Case({"findings": ("IPH",)}), "c": Case()}
    labels = LabelSidecar({"findings": findings}, cases)
    assert lacking_classes(labels, cases) == {"findings": ["IPH", "SAH"]}  # all known cases have it, none has it
    assert lacking_classes(labels, ["c", "not listed"]) == {"findings": ["IPH", "IVH", "SAH"]}
    assert lacking_classes(labelled(IPH=1, IVH=1), ["IPH_0", "IVH_0"]) == {}


def test_warnings_name_class_and_folds() -> None:
    labels = labelled(IPH=8, IVH=1)
    splits = make_splits(labels, labels.cases, num_folds=3)
    (alone,) = (index for index, fold in enumerate(splits) if "IVH_0" in fold["val"])
    others = ", ".join(str(index) for index in range(3) if index != alone)
    with pytest.raises(InputErrors) as caught:
        check_splits(labels, splits)
    (training,) = caught.value.errors
    (validation,) = split_warnings(labels, splits)
    assert (training.code, validation.code) == ("class-without-training", "class-without-validation")
    assert f"got but one kind of IVH in fold {alone} (1 of 9 patients have it)" in training.fault
    assert "folds" not in training.remedy  # one patient has it: no number of folds helps
    assert "folds, or" not in validation.remedy
    assert "merge or drop the class or its target" in training.remedy
    assert f"got but one kind of IVH in fold {others} (1 of 9" in validation.fault
    balanced = labelled(IPH=8, IVH=4)
    check_splits(balanced, make_splits(balanced, balanced.cases, num_folds=3))
    assert split_warnings(balanced, make_splits(balanced, balanced.cases, num_folds=3)) == []


def test_the_remedy_names_a_number_of_folds_that_works() -> None:
    labels = labelled(IPH=9, IVH=2)
    (warning,) = split_warnings(labels, make_splits(labels, labels.cases, num_folds=5))
    assert "use --folds 2, or score all folds together" in warning.remedy
    assert split_warnings(labels, make_splits(labels, labels.cases, num_folds=2)) == []
    together = [{"train": ["IPH_0", "IPH_1"], "val": ["IVH_0", "IVH_1"]}] * 3
    with pytest.raises(InputErrors, match="use --folds 2 or another --seed, or merge or drop"):
        check_splits(labels, together)
