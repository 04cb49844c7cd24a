"""How often each case is drawn."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nnunet_multitask.errors import InputErrors
from nnunet_multitask.labels import Case, LabelSidecar, Target, parse_sidecar
from nnunet_multitask.training.sampling import PRECISION, balanced_weights, case_weights, repeated

SUBTYPE = Target("subtype", "multiclass", ("IPH", "IVH", "SDH"))
FINDINGS = Target("findings", "multilabel", ("IPH", "IVH"))


def sidecar(*targets, **labels):
    return LabelSidecar(
        {target.name: target for target in targets}, {name: Case(known) for name, known in labels.items()}
    )


def test_classes_of_one_target_are_drawn_equally_often():
    kinds = {"a": "IPH", "b": "IPH", "c": "IPH", "d": "IVH"}
    weights = balanced_weights(
        sidecar(SUBTYPE, **{name: {"subtype": kind} for name, kind in kinds.items()}), list(kinds)
    )
    assert weights == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])  # four cases, two classes that occur
    drawn = Counter(kinds[case_id] for case_id in repeated(list(kinds), weights))
    assert drawn == {"IPH": 3, "IVH": 3}  # 1, 1, 1 and 3 entries


def test_known_cases_weigh_one_on_average_and_unknown_ones_one():
    cases = {"a": {"subtype": "IPH"}, "b": {"subtype": "IPH"}, "c": {"subtype": "SDH"}, "d": {}}
    weights = balanced_weights(sidecar(SUBTYPE, **cases), list(cases))
    assert weights[3] == 1
    assert np.mean(weights[:3]) == pytest.approx(1)


def test_several_targets_are_averaged_where_they_are_known():
    cases = {
        "a": {"subtype": "IPH", "findings": ("IPH",)},
        "b": {"subtype": "IPH"},
        "c": {"subtype": "IVH", "findings": ("IPH", "IVH")},
    }
    weights = balanced_weights(sidecar(SUBTYPE, FINDINGS, **cases), list(cases))
    # subtype: 3 / (2 * 2) and 3 / (2 * 1); findings: IPH in both cases (1), IVH in one of two (1): 1 for each
    assert weights == pytest.approx([(0.75 + 1) / 2, 0.75, (1.5 + 1) / 2])


def test_multilabel_takes_the_mean_over_its_questions():
    cases = {"a": {"findings": ()}, "b": {"findings": ("IPH",)}, "c": {"findings": ()}, "d": {"findings": ()}}
    weights = balanced_weights(sidecar(FINDINGS, **cases), list(cases))
    # IPH: one with (4 / 2 = 2), three without (4 / 6); IVH: none with it, so that every case weighs 1
    assert weights == pytest.approx([(2 / 3 + 1) / 2, (2 + 1) / 2, (2 / 3 + 1) / 2, (2 / 3 + 1) / 2])


def test_equal_weights_leave_the_list_alone():
    assert repeated(["a", "b", "c"], [0.3, 0.3, 0.3]) == ["a", "b", "c"]
    assert repeated([], []) == []


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_as_precise_as_promised(seed):
    rng = np.random.default_rng(seed)
    weights = rng.lognormal(sigma=0.5, size=20)
    case_ids = [f"case{index}" for index in range(20)]
    drawn = repeated(case_ids, weights)
    exact = weights / weights.sum()
    shares = np.array([drawn.count(case_id) for case_id in case_ids]) / len(drawn)
    assert np.abs(shares - exact).max() < 1 / (PRECISION * 20)
    assert len(drawn) <= PRECISION * 20


def test_a_tiny_weight_is_drawn_sometimes():
    assert Counter(repeated(["often", "rarely"], [1, 1e-6])) == {"often": 200, "rarely": 1}


def test_frequencies_of_the_loader():
    np.random.seed(0)  # nnU-Net's loader draws from the global generator
    drawn = np.random.choice(repeated(["a", "b", "c"], [1, 2, 5]), 20_000)
    shares = [np.mean(drawn == name) for name in "abc"]
    assert shares == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.015)  # four standard deviations


def test_weights_of_the_sidecar():
    found = sidecar(SUBTYPE, a={"subtype": "IPH"}, b={})
    found = replace(found, cases={**found.cases, "a": replace(found.cases["a"], weight=2.5)})
    assert case_weights("weights", found, ["a", "b"], "here") == [2.5, 1]
    assert parse_sidecar(json.loads(json.dumps(found.to_json())), "here") == found
    assert "weight" not in found.to_json()["cases"]["b"]


def test_case_without_entry_is_named():
    with pytest.raises(InputErrors, match=r"\[case-without-entry\] here: cases/b: expected an entry"):
        case_weights("balanced", sidecar(SUBTYPE, a={}), ["a", "b"], "here")


@pytest.mark.parametrize("weight", [0, -1, "2", True, 1e7])
def test_weight_that_is_none_is_refused(weight):
    document = sidecar(SUBTYPE, a={}).to_json()
    document["cases"]["a"]["weight"] = weight
    with pytest.raises(InputErrors, match=r"\[bad-document\] here: cases/a/weight"):
        parse_sidecar(document, "here")
