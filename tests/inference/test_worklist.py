"""The order in which a reader should see the cases."""

import csv

import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.worklist import default_worklist, parse_worklist, write_worklist
from nnunet_multitask.labels import Target

BINARY = Target("ich", "binary", ("no", "yes"))
FINDINGS = Target("findings", "multilabel", ("SAH", "SDH"))
KINDS = Target("kind", "multiclass", ("a", "b", "c"))
TWO = Target("subtype", "multiclass", ("IPH", "IVH"))
TARGETS = {target.name: target for target in (KINDS, TWO, FINDINGS, BINARY)}


def case(yes, sah, sdh, volumes=(0.5, 0.25), agrees=True):
    return {
        "targets": {
            "ich": {
                "probabilities": {"no": 1 - yes, "yes": yes},
                "decision": "yes",
                "calibrated": True,
                "mask_agreement": {"agrees": agrees},
            },
            "findings": {"probabilities": {"SAH": sah, "SDH": sdh}, "decision": ["SAH"]},
        },
        "labels": {str(value): {"volume_ml": volume} for value, volume in enumerate(volumes, start=1)},
    }


CASES = {"b": case(0.2, 0.1, 0.9), "=a": case(0.9, 0.3, 0.1, agrees=False), "c": case(0.9, 0.8, 0.7, ())}


def rows(path, choice):
    write_worklist(path, {"cases": CASES}, choice)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_most_probable_first(tmp_path):
    found = rows(tmp_path / "worklist.csv", ("ich", "yes"))
    assert [row["case_id"] for row in found] == ["'=a", "c", "b"]  # no formula for a spreadsheet
    assert found[0] == {
        "case_id": "'=a", "target": "ich", "class": "yes", "probability": "0.900000", "calibrated": "yes",
        "decision": "yes", "foreground_ml": "0.7500", "mask_agreement": "contradicts",
    }  # fmt: skip
    assert found[1]["foreground_ml"] == ""


def test_any_finding_sorts_by_the_largest(tmp_path):
    found = rows(tmp_path / "worklist.csv", ("findings", None))
    assert [(row["case_id"], row["class"], row["probability"]) for row in found] == [
        ("b", "any", "0.900000"), ("c", "any", "0.800000"), ("'=a", "any", "0.300000"),
    ]  # fmt: skip
    assert (found[0]["calibrated"], found[0]["mask_agreement"]) == ("no", "")


def test_choices():
    assert parse_worklist("ich", TARGETS) == ("ich", "yes")
    assert parse_worklist("findings", TARGETS) == ("findings", None)
    assert parse_worklist("kind:b", TARGETS) == ("kind", "b")
    assert default_worklist(TARGETS) == ("findings", None)
    assert default_worklist({"kind": KINDS, "subtype": TWO}) == ("subtype", "IVH")
    assert default_worklist({"kind": KINDS}) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", r"\[unknown-target\] --worklist x: .*kind, subtype, findings, ich"),
        ("ich:maybe", r"\[unknown-class\] .*no, yes, got maybe"),
        ("kind", r"\[missing-class\] .*kind has 3.*--worklist kind:c"),
    ],
)
def test_what_cannot_sort_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_worklist(text, TARGETS)
