"""From slices and scans to patients: truth and prediction by named rules, unknown labels never guessed."""

from __future__ import annotations

import pytest

from nnunet_multitask.evaluation.levels import Item, patient_items, patient_of
from nnunet_multitask.labels import Case, LabelSidecar
from nnunet_multitask.targets import Label, Target

FINDING = Target(name="finding", type="binary", classes=("none", "bleeding"))
KINDS = Target(name="kinds", type="multilabel", classes=("IVH", "IPH"))
SUBTYPE = Target(name="subtype", type="multiclass", classes=("IPH", "IVH", "SAH"))


def binary(patient: str, reference: str | None, p: float, threshold: float | None = 0.5) -> Item:
    decision = "bleeding" if p >= (threshold or 0.5) else "none"
    thresholds = None if threshold is None else {"bleeding": threshold}
    return Item(f"{patient}-{p}", patient, reference, {"none": 1 - p, "bleeding": p}, decision, thresholds)


def test_one_positive_part_makes_a_positive_patient() -> None:
    parts = [binary("P", "none", 0.1), binary("P", "bleeding", 0.3), binary("P", None, 0.2), binary("Q", "none", 0.7)]
    items, left_out = patient_items(FINDING, parts, "any")
    assert [(item.name, item.reference, item.decision) for item in items] == [
        ("P", "bleeding", "none"),
        ("Q", "none", "bleeding"),
    ]
    assert items[0].probabilities["bleeding"] == 0.3
    assert left_out == {"unknown": 0, "contradictory": 0}


def test_a_patient_without_a_positive_part_is_unknown_as_long_as_a_part_is() -> None:
    items, left_out = patient_items(FINDING, [binary("P", "none", 0.1), binary("P", None, 0.2)], "mean")
    assert (items, left_out) == ([], {"unknown": 1, "contradictory": 0})


def test_the_mean_is_decided_at_the_threshold_of_the_parts() -> None:
    parts = [binary("P", "bleeding", 0.2, 0.3), binary("P", "bleeding", 0.5, 0.3)]
    items, _ = patient_items(FINDING, parts, "mean")
    assert items[0].probabilities["bleeding"] == pytest.approx(0.35)
    assert items[0].decision == "bleeding"
    items, _ = patient_items(FINDING, [binary("P", "bleeding", 0.2, None), binary("P", "bleeding", 0.5, 0.3)], "mean")
    assert items[0].decision == "none"  # one part names no threshold: 0.5


def test_labels_of_a_multilabel_patient_are_united() -> None:
    def part(reference: Label | None, ivh: float, iph: float) -> Item:
        decision = tuple(name for name, p in (("IVH", ivh), ("IPH", iph)) if p >= 0.5)
        return Item("x", "P", reference, {"IVH": ivh, "IPH": iph}, decision)

    items, _ = patient_items(KINDS, [part(("IPH",), 0.6, 0.1), part(("IVH",), 0.2, 0.4)], "any")
    assert (items[0].reference, items[0].decision) == (("IVH", "IPH"), ("IVH",))
    assert items[0].probabilities == {"IVH": 0.6, "IPH": 0.4}
    # an unknown part may hold the class that no other part has
    assert patient_items(KINDS, [part(("IPH",), 0.6, 0.1), part(None, 0.2, 0.4)], "any")[1]["unknown"] == 1
    assert len(patient_items(KINDS, [part(("IPH", "IVH"), 0.6, 0.1), part(None, 0.2, 0.4)], "any")[0]) == 1


def test_kinds_that_exclude_each_other_must_agree() -> None:
    def part(patient: str, reference: str, *p: float) -> Item:
        probabilities = dict(zip(SUBTYPE.classes, p, strict=True))
        return Item("x", patient, reference, probabilities, max(SUBTYPE.classes, key=lambda name: probabilities[name]))

    parts = [part("P", "IPH", 0.5, 0.3, 0.2), part("P", "IPH", 0.1, 0.7, 0.2), part("Q", "IPH", 1, 0, 0)]
    items, left_out = patient_items(SUBTYPE, [*parts, part("Q", "IVH", 0, 1, 0)], "mean")
    assert left_out == {"unknown": 0, "contradictory": 1}
    assert items[0].probabilities == pytest.approx({"IPH": 0.3, "IVH": 0.5, "SAH": 0.2})
    assert items[0].decision == "IVH"
    with pytest.raises(ValueError, match="expected the rule mean for a multiclass target, got any"):
        patient_items(SUBTYPE, parts, "any")


def test_a_case_without_a_group_is_its_own_patient() -> None:
    sidecar = LabelSidecar({"finding": FINDING}, {"a": Case({}, "P1"), "b": Case({})})
    assert [patient_of(sidecar, case_id) for case_id in ("a", "b", "c")] == ["P1", "case b", "case c"]
