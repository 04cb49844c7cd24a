"""Fitting, writing, reading and applying a calibration, with a temperature that a simulation put in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

from nnunet_multitask.documents import check_schema, write_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.calibrate import fit_calibration
from nnunet_multitask.evaluation.calibration import (
    apply_calibration,
    calibrate_classification,
    fingerprint,
    read_calibration,
)
from nnunet_multitask.evaluation.predictions import Classification, Prediction
from nnunet_multitask.targets import Target

BINARY = Target(name="finding", type="binary", classes=("none", "bleeding"))
KINDS = Target(name="kinds", type="multilabel", classes=("IVH", "IPH"))
ONE_OF = Target(name="kind", type="multiclass", classes=("a", "b", "c"))


def simulated(
    target: Target, n: int = 240, temperatures: tuple[float, ...] = (2.5,), seed: int = 0, folds: int = 4
) -> Classification:
    """Return an out-of-fold table whose probabilities are too certain by known temperatures."""
    rng = np.random.default_rng(seed)
    cases, references = {}, {}
    for index in range(n):
        if target.type == "binary":
            logit = rng.normal(0, 1.5)
            p = special.expit(logit * temperatures[0])
            probabilities = {"none": 1 - p, "bleeding": p}
            label: Any = target.classes[int(rng.random() < special.expit(logit))]
        elif target.type == "multiclass":
            logits = rng.normal(0, 1.5, len(target.classes))
            probabilities = dict(zip(target.classes, special.softmax(logits * temperatures[0]), strict=True))
            label = str(rng.choice(target.classes, p=special.softmax(logits)))
        else:
            logits = rng.normal(-0.3, 1.5, len(target.classes))
            said = special.expit(logits * np.array(temperatures))
            probabilities = dict(zip(target.classes, said, strict=True))
            label = tuple(
                name for name, x in zip(target.classes, logits, strict=True) if rng.random() < special.expit(x)
            )
        decision: Any = () if target.type == "multilabel" else target.classes[0]
        cases[f"c{index}"] = {target.name: Prediction({k: float(v) for k, v in probabilities.items()}, decision)}
        references[f"c{index}"] = {target.name: label}
    in_fold = {case_id: index % folds for index, case_id in enumerate(cases)} if folds else {}
    return Classification(Path("table.json"), {"trainer": "T"}, {target.name: target}, cases, in_fold, references)


def saved(tmp_path: Path, document: dict[str, Any]) -> Path:
    check_schema(document, "calibration.json", "calibration.json")
    write_json(tmp_path / "calibration.json", document)
    return tmp_path / "calibration.json"


def test_a_known_temperature_is_found_and_the_calibration_error_falls() -> None:
    document = fit_calibration(simulated(BINARY, 600))
    entry = document["targets"]["finding"]
    assert entry["temperature"] == pytest.approx(2.5, rel=0.25)
    assert entry["evaluation"] == "leave_fold_out"
    for name in ("brier", "log_loss", "ece_15_equal_width_top_label", "ece_10_equal_mass"):
        assert entry["after"][name] < entry["before"][name]
    # the fit minimises the log loss of these very cases: nothing that is fitted on fewer can be below
    assert entry["after_in_sample"]["log_loss"] <= entry["after"]["log_loss"]
    assert set(entry["thresholds"]) == {
        "youden",
        "max_f1",
        "mean_f1_over_folds",
        "sensitivity_at_least_0.9",
        "specificity_at_least_0.9",
    }
    point = entry["operating_points"]["sensitivity_at_least_0.9"]["bleeding"]
    assert point["threshold"] == entry["thresholds"]["sensitivity_at_least_0.9"]
    assert 0.9 <= point["in_sample"]["recall"] < 0.91
    interval = point["leave_fold_out"]["intervals"]["recall"]
    assert interval["method"] == "wilson"
    assert interval["low"] < point["leave_fold_out"]["recall"] < interval["high"]
    assert document["fitted_on"]["folds"] == [0, 1, 2, 3]
    assert fingerprint("c0") in document["fitted_on"]["case_fingerprints"]


def test_each_fold_is_scored_by_the_others() -> None:
    """In one fold the labels are turned round: what is fitted on the others must not know it."""
    table = simulated(BINARY, 160)
    other = {"none": "bleeding", "bleeding": "none"}
    references = {
        case_id: {"finding": other[label["finding"]] if table.folds[case_id] == 0 else label["finding"]}
        for case_id, label in table.references.items()
    }
    entry = fit_calibration(replace(table, references=references), rules=["youden"])["targets"]["finding"]
    assert entry["after"]["log_loss"] > entry["after_in_sample"]["log_loss"]
    honest, in_sample = (
        entry["operating_points"]["youden"]["bleeding"][key] for key in ("leave_fold_out", "in_sample")
    )
    assert honest["balanced_accuracy"] < in_sample["balanced_accuracy"]


def test_a_table_without_folds_is_scored_crosswise() -> None:
    document = fit_calibration(simulated(BINARY, 120, folds=0))
    entry = document["targets"]["finding"]
    assert entry["evaluation"] == "cross_fitted_5_by_patient"
    assert document["fitted_on"]["folds"] == []
    assert entry["reasons"]["thresholds/mean_f1_over_folds/bleeding"] == "no_folds"
    assert document == fit_calibration(simulated(BINARY, 120, folds=0))  # drawn with a fixed seed


def test_each_class_of_a_multilabel_target_has_its_temperature(tmp_path: Path) -> None:
    document = fit_calibration(simulated(KINDS, 500, (0.5, 3.0), seed=1), rules=["youden"])
    entry = document["targets"]["kinds"]
    assert entry["temperature"]["IVH"] == pytest.approx(0.5, rel=0.3)
    assert entry["temperature"]["IPH"] == pytest.approx(3.0, rel=0.3)
    assert set(entry["thresholds"]["youden"]) == {"IVH", "IPH"}
    found = read_calibration(saved(tmp_path, document))
    calibrated = apply_calibration({"IVH": 0.8, "IPH": 0.8}, found.targets["kinds"])
    assert calibrated["IVH"] > 0.9
    assert 0.5 < calibrated["IPH"] < 0.7


def test_several_exclusive_classes_have_one_temperature_and_no_threshold(tmp_path: Path) -> None:
    document = fit_calibration(simulated(ONE_OF, 400, (3.0,)))
    entry = document["targets"]["kind"]
    assert entry["temperature"] == pytest.approx(3.0, rel=0.3)
    assert entry["thresholds"] == {}
    assert entry["reasons"]["thresholds"] == "the_most_probable_of_several_exclusive_classes_is_decided"
    assert entry["after"]["ece_15_equal_width_top_label"] < entry["before"]["ece_15_equal_width_top_label"]
    found = read_calibration(saved(tmp_path, document))
    calibrated = apply_calibration({"a": 0.9, "b": 0.05, "c": 0.05}, found.targets["kind"])
    assert sum(calibrated.values()) == pytest.approx(1)
    assert 1 / 3 < calibrated["a"] < 0.9


def test_too_few_cases_are_refused_with_how_many_are_needed() -> None:
    table = simulated(KINDS, 60, (2.0, 2.0))
    rare = {case_id: {"kinds": ("IPH",) if index % 2 else ()} for index, case_id in enumerate(table.cases)}
    for index in range(7):
        rare[f"c{index}"]["kinds"] = ("IVH",)
    table = replace(table, references=rare)
    with pytest.raises(InputErrors) as caught:
        fit_calibration(table, rules=["youden"])
    assert [error.code for error in caught.value.errors] == ["too-few-cases"]
    assert "target kinds, class IVH: expected at least 10 cases with IVH and 10 without it, got 7 and 53" in str(
        caught.value
    )
    with pytest.raises(InputErrors, match="expected at least 100 cases with IPH and 10 without it"):
        fit_calibration(table, rules=["sensitivity_at_least_0.99"])
    entry = fit_calibration(table, rules=["youden"], leave_out_rare=True)["targets"]["kinds"]
    assert entry["left_out"] == ["IVH"]
    assert entry["temperature"]["IVH"] == 1.0
    assert set(entry["before"]["per_class"]) == {"IPH"}
    assert "IVH" not in entry["thresholds"].get("youden", {})


def test_a_target_with_too_few_cases_can_be_left_out_but_not_the_only_one() -> None:
    table, few = simulated(BINARY, 100), simulated(ONE_OF, 20)
    both = replace(
        table,
        targets={**table.targets, **few.targets},
        cases={case_id: {**entry, **few.cases.get(case_id, {})} for case_id, entry in table.cases.items()},
        references={c: {**entry, **few.references.get(c, {})} for c, entry in table.references.items()},
    )
    with pytest.raises(InputErrors, match="target kind, class a: expected at least 10 cases with a"):
        fit_calibration(both)
    document = fit_calibration(both, leave_out_rare=True)
    assert (list(document["targets"]), document["left_out_targets"]) == (["finding"], ["kind"])
    with pytest.raises(
        InputErrors, match=r"\[too-few-cases\] .*-> label and predict more cases: without what is too rare"
    ):
        fit_calibration(few, leave_out_rare=True)


def test_predictions_are_calibrated_and_decided_at_an_operating_point(tmp_path: Path) -> None:
    table = simulated(BINARY)
    document = fit_calibration(table)
    calibration = read_calibration(saved(tmp_path, document))
    limit = document["targets"]["finding"]["thresholds"]["sensitivity_at_least_0.9"]
    plain = replace(table.cases["c0"]["finding"], slices=({"none": 0.1, "bleeding": 0.9}, None))
    table = replace(table, cases={**table.cases, "c0": {"finding": plain}})
    found = calibrate_classification(table, calibration, "sensitivity_at_least_0.9")
    for case_id, entry in found.cases.items():
        before, after = table.cases[case_id]["finding"], entry["finding"]
        p = after.probabilities["bleeding"]
        odds = special.logit(before.probabilities["bleeding"]) / document["targets"]["finding"]["temperature"]
        assert p == pytest.approx(special.expit(odds), abs=1e-5)
        assert after.decision == ("bleeding" if p >= limit else "none")
        assert (after.calibrated, after.thresholds) == (True, {"bleeding": limit})
    slices = found.cases["c0"]["finding"].slices
    assert slices[0] is not None
    assert slices[1] is None
    assert slices[0]["bleeding"] == pytest.approx(
        special.expit(np.log(9) / document["targets"]["finding"]["temperature"])
    )
    plain_rule = calibrate_classification(table, calibration, None).cases["c1"]["finding"]
    assert plain_rule.thresholds is None


def test_calibrations_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    table = simulated(BINARY)
    calibration = read_calibration(saved(tmp_path, fit_calibration(table, rules=["youden"])))
    with pytest.raises(InputErrors, match=r"\[unknown-rule\].*expected one of the rules youden, got max_f1"):
        calibrate_classification(table, calibration, "max_f1")
    with pytest.raises(InputErrors, match=r"\[already-calibrated\].*\(case c0\)"):
        calibrate_classification(calibrate_classification(table, calibration, "youden"), calibration, "youden")
    turned = replace(table, targets={"finding": replace(BINARY, type="multiclass")})
    with pytest.raises(InputErrors, match=r"\[classes-differ\].*expected binary none, bleeding"):
        calibrate_classification(turned, calibration, "youden")
    with pytest.raises(InputErrors, match=r"\[no-common-target\].*expected one of the targets finding, got kinds"):
        calibrate_classification(simulated(KINDS, 4, (1.0, 1.0)), calibration, "youden")


def test_a_damaged_calibration_is_refused(tmp_path: Path) -> None:
    document = fit_calibration(simulated(KINDS, 200, (1.0, 1.0)), rules=["youden"])
    del document["targets"]["kinds"]["temperature"]["IPH"]
    with pytest.raises(InputErrors, match=r"\[bad-calibration\].*expected numbers of IVH, IPH, got"):
        read_calibration(saved(tmp_path, document))
    document["targets"]["kinds"]["temperature"] = -1
    (tmp_path / "calibration.json").write_text(json.dumps(document))
    with pytest.raises(InputErrors, match=r"\[bad-document\].*targets/kinds/temperature"):
        read_calibration(tmp_path / "calibration.json")
    with pytest.raises(InputError, match=r"\[bad-rule\]"):
        fit_calibration(simulated(BINARY, 10), rules=["nonsense"])


def test_a_head_worse_than_chance_and_its_thresholds_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    table = simulated(BINARY, 80, seed=3)
    other = {"none": "bleeding", "bleeding": "none"}
    wrong = {case_id: {"finding": other[str(label["finding"])]} for case_id, label in table.references.items()}
    document = fit_calibration(replace(table, references=wrong))
    check_schema(document, "calibration.json", "calibration.json")
    entry = document["targets"]["finding"]
    codes = [warning.partition(":")[0] for warning in entry["warnings"]]
    assert codes[0] == "no-better-than-chance"
    called = {
        rule: np.sum(point["bleeding"]["in_sample"]["confusion_matrix"], axis=0)
        for rule, point in entry["operating_points"].items()
    }
    useless = [rule for rule, columns in called.items() if 0 in columns]
    assert codes.count("useless-threshold") == len(useless) > 0
    for rule in useless:
        assert any(f": bleeding: {rule} (from " in warning for warning in entry["warnings"])
    assert "WARN [no-better-than-chance] table.json: target finding: bleeding: AUC 0." in caplog.text


def test_an_informative_head_has_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert fit_calibration(simulated(BINARY))["targets"]["finding"]["warnings"] == []
    assert caplog.text == ""
