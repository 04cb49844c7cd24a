"""What must hold for any pair of masks: symmetry, invariance, identity, order."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nnunet_multitask.evaluation.lesions import LesionDetection, lesion_detection
from nnunet_multitask.evaluation.segmentation import DISTANCES, OVERLAPS, SegmentationMetrics, segmentation_metrics

SYMMETRIC = (*OVERLAPS, *DISTANCES)
RULES = ("any", "dsc>=0.5", "iou>=0.2")

Pair = tuple[np.ndarray, np.ndarray, tuple[float, ...]]


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """Two masks of one shape, from empty to full, and a spacing in steps of 0.05 mm."""
    shape = draw(array_shapes(min_dims=3, max_dims=3, max_side=5))
    masks = [draw(arrays(bool, shape, elements=st.booleans(), fill=st.booleans())) for _ in range(2)]
    spacing = tuple(draw(st.integers(4, 120)) * 0.05 for _ in shape)
    return masks[0], masks[1], spacing


def score(reference: np.ndarray, prediction: np.ndarray, spacing_mm: tuple[float, ...]) -> SegmentationMetrics:
    return segmentation_metrics(reference, prediction, spacing_mm=spacing_mm, nsd_tolerance_mm=1.0)


def detections(reference: np.ndarray, prediction: np.ndarray) -> list[LesionDetection]:
    return [lesion_detection(reference, prediction, rule=rule) for rule in RULES]


def assert_same(first: SegmentationMetrics, second: SegmentationMetrics) -> None:
    for field in dataclasses.fields(SegmentationMetrics):
        values = getattr(first, field.name), getattr(second, field.name)
        assert values[0] == values[1] or values[0] == pytest.approx(values[1], rel=1e-9, nan_ok=True), field.name


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_swapping_the_masks_swaps_what_is_directed(pair: Pair) -> None:
    reference, prediction, spacing = pair
    ours, swapped = score(reference, prediction, spacing), score(prediction, reference, spacing)
    for name in SYMMETRIC:
        np.testing.assert_allclose(getattr(ours, name), getattr(swapped, name), rtol=1e-12, err_msg=name)
    np.testing.assert_equal((ours.sensitivity, ours.precision), (swapped.precision, swapped.sensitivity))
    assert ours.volume_error_ml == -swapped.volume_error_ml
    for found, back in zip(detections(reference, prediction)[1:], detections(prediction, reference)[1:], strict=True):
        assert (found.true_positives, found.misses) == (back.true_positives, back.false_positives)


@settings(max_examples=50, deadline=None)
@given(pairs(), st.permutations(range(3)), st.tuples(*[st.sampled_from([1, -1])] * 3))
def test_flips_and_permuted_axes_change_nothing(pair: Pair, order: list[int], steps: tuple[int, ...]) -> None:
    reference, prediction, spacing = pair
    moved = [
        mask[tuple(slice(None, None, step) for step in steps)].transpose(order) for mask in (reference, prediction)
    ]
    moved_spacing = tuple(spacing[axis] for axis in order)
    assert_same(score(reference, prediction, spacing), score(moved[0], moved[1], moved_spacing))
    assert detections(reference, prediction) == detections(*moved)


@settings(max_examples=30, deadline=None)
@given(pairs(), st.integers(0, 3))
def test_empty_space_around_changes_nothing(pair: Pair, width: int) -> None:
    reference, prediction, spacing = pair
    padded = [np.pad(mask, width) for mask in (reference, prediction)]
    assert_same(score(reference, prediction, spacing), score(padded[0], padded[1], spacing))
    assert detections(reference, prediction) == detections(*padded)


@settings(max_examples=30, deadline=None)
@given(pairs())
def test_a_mask_agrees_with_itself(pair: Pair) -> None:
    mask, _, spacing = pair
    ours = score(mask, mask, spacing)
    if mask.any():
        assert [getattr(ours, name) for name in OVERLAPS] == [1.0, 1.0, 1.0]
        assert [getattr(ours, name) for name in DISTANCES] == [0.0] * len(DISTANCES)
        assert all(found.f1 == 1.0 for found in detections(mask, mask))
    else:
        assert ours.status == "both_empty"
        assert all(math.isnan(getattr(ours, name)) for name in SYMMETRIC)


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_numbers_keep_their_order_and_their_bounds(pair: Pair) -> None:
    reference, prediction, spacing = pair
    ours = score(reference, prediction, spacing)
    if ours.status != "ok":
        return
    for smaller, larger in (
        (ours.hd95, ours.hd),
        (ours.hd95_directed, ours.hd),
        (ours.assd, ours.hd),
        (ours.masd, ours.hd),
    ):
        assert smaller <= larger * (1 + 1e-12)
    assert ours.iou == pytest.approx(ours.dsc / (2 - ours.dsc))
    assert 0 <= ours.iou <= ours.dsc <= 1
    assert 0 <= ours.nsd <= 1
    assert ours.hd <= math.dist((0,) * 3, [n * s for n, s in zip(reference.shape, spacing, strict=True)])


@settings(max_examples=30, deadline=None)
@given(pairs(), st.lists(st.floats(0, 50), min_size=2, max_size=4))
def test_nsd_grows_with_the_tolerance(pair: Pair, tolerances: list[float]) -> None:
    reference, prediction, spacing = pair
    values = [
        segmentation_metrics(reference, prediction, spacing_mm=spacing, nsd_tolerance_mm=tolerance).nsd
        for tolerance in sorted(tolerances)
    ]
    assert all(first <= second for first, second in itertools.pairwise(values) if not math.isnan(first))


@settings(max_examples=50, deadline=None)
@given(pairs())
def test_every_lesion_is_counted_once(pair: Pair) -> None:
    reference, prediction, _ = pair
    for found in detections(reference, prediction):
        assert found.true_positives + found.misses == found.reference_lesions
        assert 0 <= found.false_positives <= found.predicted_lesions
    any_overlap, by_dsc, by_iou = detections(reference, prediction)
    assert max(by_dsc.true_positives, by_iou.true_positives) <= any_overlap.true_positives
