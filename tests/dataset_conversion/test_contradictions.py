"""Classes against masks: by rule, slice by slice, and by what the other cases of a class are like."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_multitask.dataset_conversion.case_checks import MaskContent
from nnunet_multitask.dataset_conversion.contradictions import contradictions, slice_contradictions
from nnunet_multitask.labels import Case, Label, LabelSidecar, Target

WHERE = Path("class_labels.json")
EMPTY = MaskContent({0: (9, 9, 9)})
BLOOD = MaskContent({0: (9, 5, 9), 1: (0, 4, 0)})
BOTH = MaskContent({0: (9, 5, 4), 1: (0, 4, 0), 2: (0, 0, 5)})
IGNORED = MaskContent({3: (9, 9, 9)}, ignore=3)
PARTLY_IGNORED = MaskContent({0: (9, 5, 9), 3: (0, 4, 0)}, ignore=3)

FINDINGS = Target("findings", "multilabel", ("IVH", "IPH"), present_if_label={"IVH": (1,), "IPH": (2,)})
ICH = Target("ich", "binary", ("no", "yes"))
SUBTYPE = Target("subtype", "multiclass", ("IPH", "IVH"))


def of_one(target: Target, label: Label | None, mask: MaskContent, **case: object) -> list[str]:
    labels = {} if label is None else {target.name: label}
    sidecar = LabelSidecar({target.name: target}, {"a": Case(labels, **case)})
    return [f"{error.code} {error.where}: {error.fault}" for error in contradictions(sidecar, {"a": mask}, WHERE)]


@pytest.mark.parametrize(
    ("label", "mask"),
    [
        ((), EMPTY),
        (("IVH",), BLOOD),
        (("IPH", "IVH"), BOTH),
        (("IVH",), IGNORED),
        (("IVH",), PARTLY_IGNORED),
        ((), IGNORED),
        (None, BOTH),
    ],
)
def test_what_agrees_with_the_rule(label: Label | None, mask: MaskContent) -> None:
    assert of_one(FINDINGS, label, mask) == []


@pytest.mark.parametrize(
    ("label", "mask", "expected"),
    [
        (
            ("IVH",),
            EMPTY,
            "class-without-mask class_labels.json: cases/a/labels/findings: expected voxels of the mask labels 1 "
            "(present_if_label of IVH), got none",
        ),
        (
            (),
            BLOOD,
            "mask-without-class class_labels.json: cases/a/labels/findings: expected no voxel of the mask labels 1 "
            "(present_if_label of IVH), got 4",
        ),
    ],
)
def test_what_contradicts_the_rule(label: Label, mask: MaskContent, expected: str) -> None:
    assert of_one(FINDINGS, label, mask) == [expected]


def test_both_directions_at_once() -> None:
    found = of_one(FINDINGS, ("IPH",), BLOOD)
    assert [text.split()[0] for text in found] == ["mask-without-class", "class-without-mask"]


def test_rule_of_a_binary_target() -> None:
    ruled = Target("ich", "binary", ("no", "yes"), present_if_label={"yes": (1, 2)})
    assert of_one(ruled, "yes", BLOOD) == of_one(ruled, "no", EMPTY) == []
    assert of_one(ruled, "yes", EMPTY)[0].startswith("class-without-mask")
    assert "got 9" in of_one(ruled, "no", BOTH)[0]


def test_slices_by_rule() -> None:
    agree = {"findings": ((), ("IVH",), None)}
    assert of_one(FINDINGS, None, BLOOD, slices=agree) == []
    differ = {"findings": (("IVH",), (), ())}
    assert of_one(FINDINGS, None, BLOOD, slices=differ) == [
        "class-without-mask class_labels.json: cases/a/slices/findings: expected voxels of the mask labels 1 "
        "(present_if_label of IVH), got none in slice 0",
        "mask-without-class class_labels.json: cases/a/slices/findings: expected no voxel of the mask labels 1 "
        "(present_if_label of IVH), got some in slice 1",
    ]
    assert of_one(FINDINGS, None, PARTLY_IGNORED, slices={"findings": ((), ("IVH",), ())}) == []
    assert of_one(FINDINGS, None, BLOOD, slices={"findings": ((),)}) == []  # as many slices as the mask: another error


def cohort(target: Target, masks: dict[str, tuple[Label, MaskContent]]) -> list[str]:
    sidecar = LabelSidecar(
        {target.name: target}, {name: Case({target.name: label}) for name, (label, _) in masks.items()}
    )
    return [str(e) for e in contradictions(sidecar, {name: mask for name, (_, mask) in masks.items()}, WHERE)]


def test_the_odd_ones_of_a_cohort_with_and_without_bleeding() -> None:
    masks = {f"yes{i}": ("yes", BLOOD) for i in range(4)} | {f"no{i}": ("no", EMPTY) for i in range(4)}
    assert cohort(ICH, masks) == []
    masks |= {"yes0": ("yes", EMPTY), "no0": ("no", BLOOD), "yes9": ("yes", IGNORED)}
    assert cohort(ICH, masks) == [
        "[mask-without-class] class_labels.json: cases/no0/labels/ich: expected an empty mask, as in 3 of 4 cases of "
        "no, got foreground -> correct the class or the mask",
        "[class-without-mask] class_labels.json: cases/yes0/labels/ich: expected foreground in the mask, as in 3 of 4 "
        "cases of yes, got an empty one -> correct the class or the mask",
    ]


def test_an_empty_mask_among_lesions() -> None:
    masks = {f"p{i}": ("IPH", BLOOD) for i in range(8)} | {f"v{i}": ("IVH", BLOOD) for i in range(3)}
    assert cohort(SUBTYPE, masks) == []
    (warning,) = cohort(SUBTYPE, masks | {"p0": ("IPH", EMPTY)})
    assert "cases/p0/labels/subtype: expected foreground in the mask, as in 7 of 8 cases of IPH" in warning
    # two of the three of IVH: too few to tell
    assert cohort(SUBTYPE, masks | {"v0": ("IVH", EMPTY)}) == []


def test_a_class_that_says_nothing_of_the_mask() -> None:
    """Half of the masks of each class are empty: nothing is odd."""
    masks = {f"{name}{i}": (name, BLOOD if i % 2 else EMPTY) for name in ("IPH", "IVH") for i in range(10)}
    assert cohort(SUBTYPE, masks) == []


def test_a_target_that_tells_explains_empty_masks_to_the_others() -> None:
    """Healthy scans have empty masks; that most women bleed does not make a healthy woman odd."""
    sex = Target("sex", "binary", ("m", "f"))
    cases, masks = {}, {}
    for i in range(20):
        healthy = i % 5 == 0
        cases[f"c{i:02d}"] = Case({"ich": "no" if healthy else "yes", "sex": "mf"[i % 2]})
        masks[f"c{i:02d}"] = EMPTY if healthy else BLOOD
    sidecar = LabelSidecar({"ich": ICH, "sex": sex}, cases)
    assert contradictions(sidecar, masks, WHERE) == []
    without_ich = LabelSidecar({"sex": sex}, {name: Case({"sex": case.labels["sex"]}) for name, case in cases.items()})
    assert len(contradictions(without_ich, masks, WHERE)) == 4  # nothing explains them now: each once


def test_multilabel_without_a_rule_tells_any_class_from_none() -> None:
    plain = Target("findings", "multilabel", ("IVH", "IPH"))
    masks: dict[str, tuple[Label, MaskContent]] = {f"a{i}": (("IPH",), BLOOD) for i in range(4)}
    masks |= {f"n{i}": ((), EMPTY) for i in range(4)} | {"n9": ((), BLOOD)}
    (warning,) = cohort(plain, masks)
    assert (
        "[mask-without-class] class_labels.json: cases/n9/labels/findings: expected an empty mask, as in 4 of 5"
        in warning
    )
    assert "cases of no class" in warning


@pytest.mark.parametrize(
    ("label", "slices", "fault"),
    [
        (("IVH",), ((), ("IVH",)), None),
        (("IVH", "IPH"), (None, ("IVH",)), None),
        (("IVH",), (("IPH",), None), "expected the classes of the case, IVH, got IPH in its slices"),
        (("IVH", "IPH"), ((), ("IVH",)), "expected the classes of the case, IPH, IVH, got IVH in its slices"),
        ((), (("IVH",), ()), "expected the classes of the case, none, got IVH in its slices"),
        (("IVH",), (), None),
    ],
)
def test_slices_and_case(label: Label, slices: tuple[Label | None, ...], fault: str | None) -> None:
    sidecar = LabelSidecar({"findings": FINDINGS}, {"a": Case({"findings": label}, slices={"findings": slices})})
    found = slice_contradictions(sidecar, WHERE)
    assert [error.fault for error in found] == ([fault] if fault else [])
    assert all(error.code == "slices-contradict-case" for error in found)


def test_slices_of_a_multiclass_target_may_differ() -> None:
    sidecar = LabelSidecar({"subtype": SUBTYPE}, {"a": Case({"subtype": "IPH"}, slices={"subtype": ("IVH", "IPH")})})
    assert slice_contradictions(sidecar, WHERE) == []
