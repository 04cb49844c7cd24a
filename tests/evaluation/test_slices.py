"""Slice-level scores of masks, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnunet_multitask.evaluation.regions import Regions
from nnunet_multitask.evaluation.slices import (
    SliceQuestion,
    pooled_slices,
    slice_detection,
    slice_questions,
    slice_scores,
)
from nnunet_multitask.labels import Case, LabelSidecar
from nnunet_multitask.targets import Target


def stack(*rows: str) -> np.ndarray:
    """A mask of one row a slice: "x" is set."""
    return np.array([[[voxel == "x" for voxel in row]] for row in rows])


REFERENCE = stack("xx..", "xxx.", "....", "....")
PREDICTION = stack("x...", "....", ".x..", "....")


def test_slices_by_hand() -> None:
    found = slice_scores(REFERENCE, PREDICTION, slices=6)  # two empty slices were cut off
    assert found["n"] == 6
    assert found["dsc"] == pytest.approx((2 / 3 + 0) / 2)
    counts = [found[name] for name in ("true_positives", "misses", "false_positives", "true_negatives")]
    assert counts == [1, 1, 1, 3]
    assert (found["sensitivity"], found["specificity"]) == (0.5, 0.75)


def test_a_scan_without_a_positive_slice_has_no_dsc() -> None:
    empty = np.zeros((3, 2, 2), dtype=bool)
    found = json.loads(json.dumps(slice_scores(empty, empty, slices=3), allow_nan=False))
    assert found["dsc"] is None
    assert found["reasons"]["dsc"] == "no_positive_reference"
    assert found["true_negatives"] == 3


def test_pooled_slices_count_once_each() -> None:
    other = slice_scores(stack("x"), stack("x"), slices=1)
    empty = slice_scores(stack("."), stack("."), slices=1)
    pooled = pooled_slices([slice_scores(REFERENCE, PREDICTION, slices=4), other, empty])
    assert pooled["n"] == 6
    assert pooled["dsc"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert (pooled["true_positives"], pooled["misses"]) == (2, 1)
    assert "sidecar" not in pooled
    assert pooled_slices([empty])["reasons"]["dsc"] == "no_positive_reference"


def sidecar() -> LabelSidecar:
    findings = Target("findings", "multilabel", ("IPH", "IVH", "SAH"), present_if_label={"IPH": (1,)})
    bleeding = Target("bleeding", "binary", ("no", "yes"), present_if_label={"yes": (1, 2)})
    fracture = Target("fracture", "binary", ("no", "yes"))
    slices = {"findings": (("IPH",), (), None), "bleeding": ("yes", "no", None), "fracture": ("no", "no", "yes")}
    targets = {target.name: target for target in (findings, bleeding, fracture)}
    return LabelSidecar(targets, {"a": Case(slices=slices)})


def test_classes_are_held_against_the_region_that_means_the_same() -> None:
    regions = Regions.from_labels({"background": 0, "IPH": 1, "IVH": 2})
    assert slice_questions(sidecar(), regions) == [
        SliceQuestion("findings", "IPH", "IPH"),  # by its mask labels
        SliceQuestion("findings", "IVH", "IVH"),  # by its name
        SliceQuestion("bleeding", "yes", "foreground"),  # SAH and fracture: the mask does not tell
    ]
    one = Regions.from_labels({"background": 0, "blood": 1})
    assert slice_questions(sidecar(), one) == [
        SliceQuestion("findings", "IPH", "blood"),
        SliceQuestion("findings", "IPH", "foreground"),
    ]
    assert slice_questions(None, regions) == []


def test_targets_without_slices_ask_nothing() -> None:
    known = sidecar()
    assert slice_questions(LabelSidecar(known.targets, {"a": Case()}), Regions.from_labels({"IPH": 1})) == []


def test_slice_labels_by_hand() -> None:
    multilabel = SliceQuestion("findings", "IPH", "IPH")
    labels = (("IPH", "IVH"), ("IVH",), (), None, ("IPH",))
    found = slice_detection(multilabel, labels, np.array([True, True, False, True, False]))
    assert {name: found[name] for name in ("true_positives", "misses", "false_positives", "true_negatives")} == {
        "true_positives": 1,
        "misses": 1,
        "false_positives": 1,
        "true_negatives": 1,
    }
    assert found["unlabelled"] == 1
    binary = slice_detection(SliceQuestion("bleeding", "yes", "foreground"), ("yes", "no"), np.array([True, False]))
    assert (binary["sensitivity"], binary["specificity"]) == (1.0, 1.0)


def test_slice_labels_are_pooled() -> None:
    question = SliceQuestion("bleeding", "yes", "foreground")
    cases = []
    for labels, called in ((("yes", None), [True, True]), (("yes", "no"), [False, False])):
        detection = slice_detection(question, labels, np.array(called))
        masks = np.zeros((2, 1, 1), dtype=bool)
        cases.append({**slice_scores(masks, masks, 2), "sidecar": {"bleeding": {"yes": detection}}})
    pooled = pooled_slices(cases)["sidecar"]["bleeding"]["yes"]
    assert (pooled["true_positives"], pooled["misses"], pooled["true_negatives"], pooled["unlabelled"]) == (1, 1, 1, 1)
    assert pooled["sensitivity"] == 0.5
