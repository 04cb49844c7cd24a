"""The table of classes that verify prints."""

from __future__ import annotations

from pathlib import Path

from nnunet_multitask.dataset_conversion.case_checks import CaseFiles, CaseFindings, MaskContent
from nnunet_multitask.dataset_conversion.verification_counts import count_classes, count_table
from nnunet_multitask.labels import Case, LabelSidecar, Target

LABELS = {"background": (0,), "IPH": (1,), "IVH": (2,), "ignore": (3,)}
FINDINGS = Target("findings", "multilabel", ("IPH", "IVH"))


def found(case_id: str, part: str, values: dict[int, int] | None) -> CaseFindings:
    mask = None if values is None else MaskContent({value: (count,) for value, count in values.items()}, 3)
    return CaseFindings(CaseFiles(case_id, part, (Path(case_id),), None), mask=mask)


FOUND = [
    found("a", "training", {0: 5, 1: 4}),
    found("b", "training", {0: 5, 1: 4, 2: 1}),
    found("c", "training", {0: 9}),
    found("d", "training", {3: 9}),
    found("e", "test", None),
]
CASES = {
    "a": Case({"findings": ("IPH",)}, split="fold_a"),
    "b": Case({"findings": ("IPH", "IVH")}, split="fold_b"),
    "c": Case({"findings": ()}),
    "d": Case(),
    "e": Case({"findings": ("IVH",)}, split="fold_b"),
}


def test_table() -> None:
    counts = count_classes(LabelSidecar({"findings": FINDINGS}, CASES), FOUND, LABELS)
    assert counts["masks"]["findings"]["IVH"] == {
        "foreground": 1, "empty": 0, "unknown": 0, "no mask": 0, "labels": {"IPH": 1, "IVH": 1}
    }  # fmt: skip
    header, *lines = [line.split() for line in count_table(counts)]
    assert " ".join(header) == (
        "findings training test split fold_a split fold_b with foreground empty mask without mask with IPH with IVH"
    )
    assert lines == [
        "IPH 2 0 1 1 2 0 0 2 1".split(),
        "IVH 1 1 0 2 1 0 0 1 1".split(),
        "unknown 1 0 0 0 0 0 1 0 0".split(),
        "no class 1 0 0 0 0 1 0 0 0".split(),
    ]
    assert len({len(line) for line in count_table(counts)}) == 1  # aligned


def test_the_splits_of_every_data_set_need_no_columns() -> None:
    plain = {name: Case({"findings": ()}, split="test" if name == "e" else "train") for name in CASES}
    table = count_table(count_classes(LabelSidecar({"findings": FINDINGS}, plain), FOUND, LABELS))
    assert (
        table[0].split()
        == "findings training test".split() + "with foreground empty mask without mask with IPH with IVH".split()
    )


def test_without_a_sidecar_there_are_no_tables() -> None:
    counts = count_classes(None, FOUND, LABELS)
    assert (counts["training"], counts["test"], counts["label_only"]) == (4, 1, 1)
    assert count_table(counts) == []
