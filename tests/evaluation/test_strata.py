"""Groups of cases: which case is in which, and the means of a group."""

from __future__ import annotations

from typing import Any

import pytest

from nnunet_multitask.evaluation.strata import stratify


def document(cases: dict[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    def model(shift: float, reference: str = "yes") -> dict[str, Any]:
        scores = {
            case_id: {"foreground": {"dsc": 0.8 + shift, "hd95": 2.0, "status": "ok", **score}}
            for case_id, score in cases.items()
        }
        classes = {case_id: {"reference": "yes" if case_id < "c" else "no"} for case_id in cases}
        return {
            "segmentation": {"cases": scores},
            "classification": {"blood": {"classes": ["no", "yes"], "cases": classes}},
        }

    return {
        "baseline": "base",
        "models": {"base": model(0.0), "multi": model(0.1)},
        "geometry": {case_id: {"diagonal_mm": 100.0} for case_id in cases},
        **more,
    }


def case(volume_ml: float, **more: Any) -> dict[str, Any]:
    return {"reference_volume_ml": volume_ml, **more}


def test_volumes_at_the_edges_belong_to_the_group_that_names_them() -> None:
    volumes = {"a": 0.0, "b": 0.99, "c": 1.0, "d": 5.0, "e": 30.0, "f": 30.01}
    found = stratify(document({name: case(v) for name, v in volumes.items()}))
    by_volume = next(way for way in found if way.title == "Volume of the reference")
    assert [(group.title, group.cases) for group in by_volume.strata] == [
        ("no reference", 1),
        ("< 1 mL", 1),
        ("1 to 5 mL", 1),
        ("5 to 30 mL", 2),
        ("> 30 mL", 1),
    ]


def test_means_of_a_group_are_under_the_empty_policy() -> None:
    missed = {"status": "missed", "dsc": 0.0, "hd95": None}
    found = stratify(document({"a": case(0.5), "b": case(0.6, **missed), "c": case(9.0)}))
    small = found[0].strata[0]
    assert (small.title, small.cases, small.scores["base"].missed) == ("< 1 mL", 2, 1)
    assert small.scores["base"].dsc == pytest.approx(0.4)
    assert small.scores["base"].hd95_mm == pytest.approx((2.0 + 100.0) / 2)
    assert small.change("multi", "base") == pytest.approx(0.05)


def test_diameters_classes_and_attributes() -> None:
    cases = {
        name: case(2.0, reference_largest_diameter_mm=d) for name, d in zip("abcd", (5, 10, 10.1, 50), strict=True)
    }
    attributes = {"a": {"site": "A", "age": 30, "id": {}}, "b": {"site": "B", "age": 40}, "c": {"site": "A", "age": 50}}
    found = {way.title: way for way in stratify(document(cases, attributes=attributes))}
    assert list(found) == ["Largest diameter of the reference", "Class: blood", "site", "age"]
    groups = {title: [(g.title, g.cases) for g in way.strata] for title, way in found.items()}
    assert groups["Largest diameter of the reference"] == [("10 mm or less", 2), ("more than 10 mm", 2)]
    assert groups["Class: blood"] == [("no", 2), ("yes", 2)]
    assert groups["site"] == [("A", 2), ("B", 1), ("not recorded", 1)]
    assert groups["age"] == [("up to 40 (median)", 2), ("more than 40", 1), ("not recorded", 1)]


def test_cases_of_one_kind_make_no_table() -> None:
    assert stratify(document({"a": case(2.0)})) == []
