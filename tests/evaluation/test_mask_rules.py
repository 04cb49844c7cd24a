"""The class that a mask tells: rules by hand, thresholds from other folds only, empty masks never in favour."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nnunet_multitask.evaluation.mask_rules import regions_of_classes, score_mask_rules
from nnunet_multitask.labels import Case, LabelSidecar
from nnunet_multitask.targets import Label, Target

REGIONS = {"IPH": [1], "IVH": [2], "foreground": [1, 2]}
SUBTYPE = Target(name="subtype", type="multiclass", classes=("IPH", "IVH"))
FINDING = Target(name="finding", type="binary", classes=("none", "bleeding"))
KINDS = Target(name="kinds", type="multilabel", classes=("IPH", "IVH", "SAH"))


def masks(volumes: dict[str, tuple[float, float]], largest: dict[str, tuple[float, float]] | None = None) -> Any:
    """Return scores of masks from the volumes of IPH and IVH in mL."""
    parts = largest or volumes
    return {
        case_id: {
            "IPH": {"volume_ml": iph, "largest_lesion_ml": parts[case_id][0]},
            "IVH": {"volume_ml": ivh, "largest_lesion_ml": parts[case_id][1]},
            "foreground": {"volume_ml": iph + ivh, "largest_lesion_ml": max(parts[case_id])},
        }
        for case_id, (iph, ivh) in volumes.items()
    }


def sidecar(target: Target, labels: dict[str, Label], groups: dict[str, str] | None = None) -> LabelSidecar:
    cases = {c: Case({target.name: label}, (groups or {}).get(c)) for c, label in labels.items()}
    return LabelSidecar({target.name: target}, cases)


def test_which_region_tells_a_class() -> None:
    assert regions_of_classes(SUBTYPE, REGIONS) == {"IPH": "IPH", "IVH": "IVH"}
    assert regions_of_classes(KINDS, REGIONS) == {"IPH": "IPH", "IVH": "IVH"}
    assert regions_of_classes(FINDING, REGIONS) == {"bleeding": "foreground"}
    assert regions_of_classes(SUBTYPE, {"blood": [1], "foreground": [1]}) == {"IVH": "foreground"}
    told = Target(name="x", type="binary", classes=("no", "yes"), present_if_label={"yes": (2,)})
    assert regions_of_classes(told, REGIONS) == {"yes": "IVH"}


def test_any_voxel_and_volume_by_hand() -> None:
    cases = masks({"a": (0, 0), "b": (0.2, 0), "c": (3, 2), "d": (0, 0), "e": (0, 1)})
    labels: dict[str, Label] = {"a": "none", "b": "none", "c": "bleeding", "d": "bleeding"}
    found = score_mask_rules(FINDING, sidecar(FINDING, labels), cases, REGIONS)
    assert (found["n"], found["missing_labels"], found["regions"]) == (4, 1, {"bleeding": "foreground"})
    rule = found["rules"]["any_voxel"]
    assert (rule["recall"], rule["specificity"], rule["accuracy"]) == (0.5, 0.5, 0.5)
    assert (rule["auc"], rule["reasons"]["auc"]) == (None, "decisions_only")
    volume = found["rules"]["volume"]
    assert volume["auc"] == pytest.approx((1 + 1 + 0.5 + 0) / 4)  # 5 mL wins twice; 0 mL ties with 0, loses to 0.2
    assert (volume["accuracy"], volume["reasons"]["accuracy"]) == (None, "no_folds")
    assert found["absent_rules"] == {"largest_component": "one_region", "maximum_probability": "no_probabilities"}
    json.dumps(found, allow_nan=False)


def test_the_threshold_comes_from_the_other_folds() -> None:
    volumes = {f"c{i}": (v, 0.0) for i, v in enumerate([1, 2, 10, 12, 1.5, 3, 11, 30])}
    labels: dict[str, Label] = {f"c{i}": "bleeding" if i % 4 > 1 else "none" for i in range(8)}
    folds = {f"c{i}": i // 4 for i in range(8)}
    found = score_mask_rules(FINDING, sidecar(FINDING, labels), masks(volumes), REGIONS, folds=folds)
    entry = found["rules"]["volume"]["per_class"]["bleeding"]
    # of fold 1 (1.5, 3 | 11, 30) between 3 and 11 mL, halfway of v / (1 + v)
    limit = (3 / 4 + 11 / 12) / 2
    assert entry["thresholds"]["0"] == {"threshold": pytest.approx(limit / (1 - limit)), "positive": "above"}
    limit = (2 / 3 + 10 / 11) / 2
    assert entry["thresholds"]["1"]["threshold"] == pytest.approx(limit / (1 - limit))
    assert entry["accuracy"] == 1.0
    assert entry["intervals"]["recall"]["method"] == "wilson"


def test_small_volume_may_speak_for_the_class() -> None:
    volumes = {f"c{i}": (v, 0.0) for i, v in enumerate([1, 2, 10, 12, 1.5, 3, 11, 30])}
    labels: dict[str, Label] = {f"c{i}": "none" if i % 4 > 1 else "bleeding" for i in range(8)}
    folds = {f"c{i}": i // 4 for i in range(8)}
    found = score_mask_rules(FINDING, sidecar(FINDING, labels), masks(volumes), REGIONS, folds=folds)
    rule = found["rules"]["volume"]
    limit = (3 / 4 + 11 / 12) / 2
    assert rule["per_class"]["bleeding"]["thresholds"]["0"] == {
        "threshold": pytest.approx(limit / (1 - limit)),
        "positive": "below",
    }
    assert rule["accuracy"] == 1.0
    assert rule["auc"] == 0.0  # the score is the volume, as it is


def test_a_threshold_that_fits_only_its_own_fold_gains_nothing() -> None:
    # in one fold large means bleeding, in the other small: each fold's threshold is wrong in the other
    volumes = {f"c{i}": (v, 0.0) for i, v in enumerate([1, 2, 10, 12, 1, 2, 10, 12])}
    labels: dict[str, Label] = {f"c{i}": "bleeding" if (i % 4 > 1) == (i < 4) else "none" for i in range(8)}
    folds = {f"c{i}": i // 4 for i in range(8)}
    found = score_mask_rules(FINDING, sidecar(FINDING, labels), masks(volumes), REGIONS, folds=folds)
    assert found["rules"]["volume"]["accuracy"] == 0.0


def test_the_label_of_the_largest_component() -> None:
    volumes = {"a": (4.0, 3.0), "b": (1.0, 3.0), "c": (0.0, 0.0), "d": (2.0, 0.0)}
    largest = {"a": (1.0, 3.0), "b": (1.0, 3.0), "c": (0.0, 0.0), "d": (2.0, 0.0)}
    labels: dict[str, Label] = {"a": "IPH", "b": "IVH", "c": "IPH", "d": "IPH"}
    found = score_mask_rules(SUBTYPE, sidecar(SUBTYPE, labels), masks(volumes, largest), REGIONS)
    rule = found["rules"]["largest_component"]
    assert rule["undecided"] == 1  # c: an empty mask is no right answer
    assert rule["accuracy"] == 0.5  # b and d
    assert rule["per_class"]["IPH"]["confusion_matrix"] == [[1, 0], [2, 1]]
    assert (rule["recall"], rule["f1"]) == (1.0, pytest.approx(0.5))  # of IVH
    assert found["absent_rules"]["any_voxel"] == "classes_exclude_each_other"
    # volume: of each class its own region
    assert found["rules"]["volume"]["per_class"]["IVH"]["auc"] == pytest.approx((0.5 + 1 + 1) / 3)


def test_classes_of_a_multilabel_target_one_by_one() -> None:
    cases = masks({"a": (1, 0), "b": (1, 2), "c": (0, 0)})
    labels: dict[str, Label] = {"a": ("IPH",), "b": ("IPH", "SAH"), "c": ("IVH",)}
    found = score_mask_rules(KINDS, sidecar(KINDS, labels), cases, REGIONS)
    rule = found["rules"]["any_voxel"]
    assert set(rule["per_class"]) == {"IPH", "IVH"}  # no mask tells SAH
    assert rule["per_class"]["IPH"]["accuracy"] == 1.0
    assert rule["per_class"]["IVH"]["accuracy"] == pytest.approx(1 / 3)
    assert rule["accuracy"] == pytest.approx(2 / 3)
    assert found["absent_rules"]["largest_component"] == "classes_do_not_exclude_each_other"


def test_the_head_is_held_against_the_mask() -> None:
    volumes = {f"c{i}": (v, 0.0) for i, v in enumerate([0, 1, 0, 5, 6, 0.5, 3, 0])}
    labels: dict[str, Label] = {f"c{i}": "bleeding" if i > 3 else "none" for i in range(8)}
    head = {f"c{i}": {"none": 1 - p, "bleeding": p} for i, p in enumerate([0.1, 0.2, 0.3, 0.4, 0.9, 0.8, 0.35, 0.7])}
    reference = sidecar(FINDING, labels)
    found = score_mask_rules(FINDING, reference, masks(volumes), REGIONS, head=head)
    against = found["rules"]["volume"]["per_class"]["bleeding"]["against_head"]
    assert against["auc"] == pytest.approx(15 / 16)
    assert against["other_auc"] == pytest.approx(found["rules"]["volume"]["auc"])
    assert against["low"] < against["difference"] < against["high"]
    assert 0 < against["p"] <= 1
    grouped = sidecar(FINDING, labels, dict.fromkeys(labels, "P"))
    found = score_mask_rules(FINDING, grouped, masks(volumes), REGIONS, head=head)
    assert found["rules"]["volume"]["per_class"]["bleeding"]["against_head"]["reason"] == "several_cases_of_a_patient"


def test_largest_probability_of_a_voxel() -> None:
    labels: dict[str, Label] = {"a": "none", "b": "bleeding"}
    maxima = {"a": {"foreground": 0.3}, "b": {"foreground": 0.99}}
    cases = masks({"a": (0, 0), "b": (0, 0)})
    found = score_mask_rules(FINDING, sidecar(FINDING, labels), cases, REGIONS, maxima=maxima)
    assert found["rules"]["maximum_probability"]["auc"] == 1.0
    assert found["rules"]["volume"]["auc"] == 0.5


def test_no_labelled_case_and_no_region() -> None:
    found = score_mask_rules(FINDING, sidecar(FINDING, {}), masks({"a": (0, 0)}), REGIONS)
    assert (found["rules"], set(found["absent_rules"].values())) == (
        {},
        {
            "no_cases",
        },
    )
    colours = Target(name="colour", type="multilabel", classes=("red", "blue"))
    found = score_mask_rules(colours, sidecar(colours, {"a": ("red",)}), masks({"a": (0, 0)}), REGIONS)
    assert found["absent_rules"]["volume"] == "class_without_region"


def test_of_two_kinds_the_smaller_is_found_too() -> None:
    """Nobody says whether the second kind is the larger one: the rule gets the direction that fits."""
    size = Target(name="size", type="multiclass", classes=("large", "small"))
    cases = masks({"a": (5, 0), "b": (4, 0), "c": (1, 0), "d": (2, 0)})
    labels: dict[str, Label] = {"a": "large", "b": "large", "c": "small", "d": "small"}
    head = {c: {"large": 0.5, "small": 0.5} for c in cases}
    found = score_mask_rules(size, sidecar(size, labels), cases, {"organ": [1], "foreground": [1]}, head=head)
    rule = found["rules"]["volume"]
    assert (rule["auc"], rule["per_class"]["small"]["direction"]) == (1.0, "less")
    assert rule["per_class"]["small"]["against_head"]["difference"] == -0.5
