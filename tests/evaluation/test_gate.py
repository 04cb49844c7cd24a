"""The gate: masks of scans called negative are cleared, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.gate import DEFINITIONS, gate_document, gate_effect, parse_gate
from nnunet_multitask.evaluation.predictions import Classification, Prediction
from nnunet_multitask.targets import Target

FINDING = Target(name="finding", type="binary", classes=("none", "bleeding"))


def score(
    status: str, volume_ml: float = 0.0, precision: float | None = None, dsc: float | None = None
) -> dict[str, Any]:
    return {"status": status, "volume_ml": volume_ml, "precision": precision, "dsc": dsc}


CASES: dict[str, dict[str, dict[str, Any]]] = {
    "healthy_clean": {"foreground": score("both_empty")},
    "healthy_alarm": {"foreground": score("false_positive", 2.0, 0.0, 0.0)},
    "healthy_alarm_kept": {"foreground": score("false_positive", 1.0, 0.0, 0.0)},
    "found": {"foreground": score("ok", 10.0, 0.8, 0.7)},
    "cleared": {"foreground": score("ok", 4.0, 0.5, 0.6)},
    "missed": {"foreground": score("missed", 0.0, None, 0.0)},
}
P = {"healthy_clean": 0.1, "healthy_alarm": 0.2, "healthy_alarm_kept": 0.6, "found": 0.9, "cleared": 0.3, "missed": 0.8}


def predicted(target: Target = FINDING, probabilities: dict[str, float] | None = None) -> Classification:
    cases = {
        case_id: {
            target.name: Prediction(
                {"none": 1 - p, "bleeding": p}, "bleeding" if p >= 0.5 else "none", {"bleeding": 0.5}, True
            )
        }
        for case_id, p in (P if probabilities is None else probabilities).items()
    }
    return Classification(Path("classification.json"), {}, {target.name: target}, cases)


def test_by_hand() -> None:
    document = gate_document(predicted(), CASES, "finding")
    assert (document["closed"], document["negative"], document["calibrated"]) == (3, "none", True)
    assert document["thresholds"] == {"bleeding": 0.5}
    found = document["regions"]["foreground"]
    assert (found["healthy"], found["with_reference"], found["wrongly_cleared"]) == (3, 3, 1)
    assert (found["healthy_with_mask"]["before"]["n"], found["healthy_with_mask"]["after"]["n"]) == (2, 1)
    assert found["healthy_with_mask"]["after"]["share"] == pytest.approx(1 / 3)
    assert found["missed"]["before"]["n"] == 1
    assert found["missed"]["after"]["n"] == 2
    assert found["false_positive_ml"] == {"before": pytest.approx(2 + 1 + 2 + 2), "after": pytest.approx(1 + 2)}
    assert found["healthy_false_positive_ml"] == {"before": 3.0, "after": 1.0}
    # healthy_clean is both empty; the alarm that the gate clears is right, the lesion that it clears is lost
    assert found["dsc"]["before"] == {"mean": pytest.approx((0 + 0 + 0.7 + 0.6 + 0) / 5), "n": 5}
    assert found["dsc"]["after"] == {"mean": pytest.approx((1 + 0 + 0.7 + 0 + 0) / 5), "n": 5}
    json.dumps(document, allow_nan=False)


def test_the_definition_of_wrongly_cleared_says_that_the_gate_did_it() -> None:
    assert DEFINITIONS["wrongly_cleared"].endswith("was not empty before the gate, and the gate cleared it")


def test_the_curve_goes_from_open_to_closed() -> None:
    curve = gate_document(predicted(), CASES, "finding")["regions"]["foreground"]["curve"]
    assert [curve[0][name] for name in ("threshold", "healthy_with_mask", "missed")] == [0.0, 2, 1]
    assert [curve[-1][name] for name in ("threshold", "healthy_with_mask", "missed")] == [1.0, 0, 3]
    at = {point["threshold"]: point for point in curve}
    assert (at[0.5]["healthy_with_mask"], at[0.5]["missed"]) == (1, 2)
    for name, falling in (("false_positive_ml", True), ("missed", False)):
        values = [point[name] for point in curve]
        assert values == sorted(values, reverse=falling)


def test_an_open_gate_changes_nothing() -> None:
    found = gate_effect(CASES, "foreground", set())
    for name in ("healthy_with_mask", "missed", "false_positive_ml", "healthy_false_positive_ml", "dsc"):
        assert found[name]["before"] == found[name]["after"]
    assert found["wrongly_cleared"] == 0


def test_a_scan_without_decision_keeps_its_mask() -> None:
    document = gate_document(predicted(probabilities={"healthy_alarm": 0.2}), CASES, "finding")
    assert (document["closed"], document["without_decision"]) == (1, 5)


def test_no_healthy_scan_is_null_with_a_reason() -> None:
    found = gate_effect({"found": CASES["found"]}, "foreground", set())
    share = found["healthy_with_mask"]["before"]
    assert (share["share"], share["reason"], share["interval"]["reason"]) == (None, "no_cases", "no_cases")


def test_what_is_negative() -> None:
    kinds = Target(name="kinds", type="multilabel", classes=("IVH", "IPH"))
    cases = {
        "healthy_alarm": {"kinds": Prediction({"IVH": 0.1, "IPH": 0.4}, ())},
        "found": {"kinds": Prediction({"IVH": 0.1, "IPH": 0.7}, ("IPH",))},
    }
    model = Classification(Path("c.json"), {}, {"kinds": kinds}, cases)
    document = gate_document(model, {c: CASES[c] for c in cases}, "kinds")
    assert (document["closed"], document["negative"]) == (1, None)
    curve = document["regions"]["foreground"]["curve"]
    assert [point["healthy_with_mask"] for point in curve if point["threshold"] in (0.4, 0.45)] == [1, 0]
    with pytest.raises(InputError, match=r"\[bad-gate\] target kinds: expected no class .* got IVH"):
        gate_document(model, {c: CASES[c] for c in cases}, "kinds", "IVH")


def test_gates_that_cannot_be_are_refused() -> None:
    exclusive = Target(name="finding", type="multiclass", classes=("none", "bleeding"))
    with pytest.raises(InputError, match=r"expected the class that clears the mask among none, bleeding, got none"):
        gate_document(predicted(exclusive), CASES, "finding")
    assert gate_document(predicted(exclusive), CASES, "finding", "none")["closed"] == 3
    with pytest.raises(InputError, match=r"\[bad-gate\].*expected one of the targets finding, got other"):
        gate_document(predicted(), CASES, "other")
    assert parse_gate("finding=none") == ("finding", "none")
    assert parse_gate("finding") == ("finding", None)
