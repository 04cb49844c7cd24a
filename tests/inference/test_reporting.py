"""What is said of a case, by hand."""

from pathlib import Path

import numpy as np
import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.calibration import Calibration, TargetCalibration
from nnunet_multitask.inference.reporting import Reporting, check_reporting, is_gated, target_record
from nnunet_multitask.labels import Target

KINDS = Target("subtype", "multiclass", ("IPH", "IVH"))
BINARY = Target("ich", "binary", ("no", "yes"))
FINDINGS = Target("findings", "multilabel", ("SAH", "SDH", "EDH"))
ONE = np.ones((1, 1))
CALIBRATED = TargetCalibration(BINARY, {"no": 2.0, "yes": 2.0}, {"youden": {"yes": 0.3}})


def calibration(*targets):
    return Calibration(Path("model/calibration.json"), {entry.target.name: entry for entry in targets})


def test_multiclass_decides_for_the_most_probable():
    record = target_record(KINDS, np.array([[0.3, 0.7]]), np.array([[0.3, 0.7]]))
    assert record["probabilities"] == {"IPH": 0.3, "IVH": 0.7}
    assert (record["decision"], record["threshold"], record["operating_point"]) == ("IVH", None, None)
    assert record["calibrated"] is False
    assert record["fold_spread"] == record["mirror_spread"] == {"IPH": None, "IVH": None}


def test_binary_has_both_classes_and_a_threshold():
    record = target_record(BINARY, np.array([[0.4], [0.6]]), np.array([[0.5], [0.5], [0.2], [0.8]]))
    assert record["probabilities"] == {"no": 0.5, "yes": 0.5}
    assert (record["decision"], record["threshold"]) == ("yes", 0.5)
    assert record["fold_spread"] == {"no": 0.1, "yes": 0.1}
    spread = round((0.18 / 4) ** 0.5, 6)  # 0.09 twice, over four mirrorings
    assert record["mirror_spread"] == {"no": spread, "yes": spread}


def test_multilabel_decides_for_each_class():
    assert target_record(FINDINGS, np.array([[0.9, 0.4, 0.5]]), ONE)["decision"] == ["SAH", "EDH"]
    assert target_record(FINDINGS, np.array([[0.1, 0.4, 0.2]]), ONE)["decision"] == []


def test_calibration_moves_probability_spread_and_threshold():
    # sigmoid(logit(0.2) / 2) is 1 / (1 + 2), and of 0.1 it is 1 / (1 + 3)
    record = target_record(BINARY, np.array([[0.2]]), np.array([[0.2], [0.1]]), CALIBRATED, "youden")
    assert record["probabilities"] == {"no": pytest.approx(2 / 3, abs=1e-6), "yes": pytest.approx(1 / 3, abs=1e-6)}
    assert (record["decision"], record["threshold"], record["operating_point"]) == ("yes", 0.3, "youden")
    assert record["calibrated"] is True
    assert record["mirror_spread"]["yes"] == pytest.approx((1 / 3 - 1 / 4) / 2, abs=2e-6)
    plain = target_record(BINARY, np.array([[0.2]]), ONE, CALIBRATED)
    assert (plain["decision"], plain["threshold"], plain["operating_point"]) == ("no", 0.5, None)


def test_thresholds_of_several_classes_stand_by_class():
    entry = TargetCalibration(FINDINGS, dict.fromkeys(FINDINGS.classes, 1.0), {"youden": {"SAH": 0.2, "EDH": 0.95}})
    record = target_record(FINDINGS, np.array([[0.3, 0.6, 0.9]]), ONE, entry, "youden")
    assert record["decision"] == ["SAH", "SDH"]  # SDH has no threshold by this rule: 0.5
    assert record["threshold"] == {"SAH": 0.2, "EDH": 0.95}


def test_gate_closes_on_the_negative_decision():
    targets = {"ich": BINARY, "findings": FINDINGS}
    gate = Reporting(targets, calibration(CALIBRATED), {"ich": "youden"}, ("ich", None))
    check_reporting(gate)
    assert is_gated(gate, {"targets": {"ich": {"decision": "no"}}})
    assert not is_gated(gate, {"targets": {"ich": {"decision": "yes"}}})
    any_finding = Reporting(targets, None, {}, ("findings", None))
    assert is_gated(any_finding, {"targets": {"findings": {"decision": []}}})
    assert not is_gated(any_finding, {"targets": {"findings": {"decision": ["SAH"]}}})
    assert not is_gated(Reporting(targets), {"targets": {"ich": {"decision": "no"}}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": ("ich", None)}, r"\[missing-calibration\] --gate ich: .*nnunet-multitask calibrate"),
        ({"operating_points": {"ich": "youden"}}, r"\[missing-calibration\] --operating-point ich=youden"),
        (
            {"calibration": calibration(CALIBRATED), "gate": ("ich", None)},
            r"\[missing-operating-point\] --gate ich: .*--operating-point ich=youden",
        ),
        ({"gate": ("ihc", None)}, r"\[bad-gate\] --gate ihc: expected one of the targets ich, subtype, got ihc"),
        ({"gate": ("subtype", None)}, r"\[bad-gate\] target subtype: .*--gate subtype=IPH"),
        (
            {"calibration": calibration(CALIBRATED), "operating_points": {"ich": "max_f1"}},
            r"\[unknown-rule\] .*calibration.json: target ich: expected one of the rules youden, got max_f1",
        ),
        (
            {"calibration": calibration(TargetCalibration(Target("ich", "binary", ("none", "yes")), {}, {}))},
            r"\[classes-differ\] .*target ich: expected binary no, yes, got binary none, yes",
        ),
    ],
)
def test_what_cannot_be_reported_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        check_reporting(Reporting({"ich": BINARY, "subtype": KINDS}, **options))
