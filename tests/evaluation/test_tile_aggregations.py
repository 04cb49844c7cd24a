import numpy as np
import pytest

from nnunet_multitask.evaluation.tile_aggregations import compare_aggregations
from nnunet_multitask.targets import Target

ICH = Target("ich", "binary", ("no", "yes"))
FINDINGS = Target("findings", "multilabel", ("SAH", "SDH"))


def both(p):
    return np.stack([1 - np.asarray(p), np.asarray(p)], axis=1)


def test_scores_by_hand():
    truth = both([0.0, 0, 1, 1]) == 1
    found = compare_aggregations(
        ICH, truth, {"mean": both([0.5, 0.2, 0.4, 0.8]), "max": both([0.1, 0.2, 0.3, 0.4])}, "mean", np.arange(4)
    )
    mean, best = found["aggregations"]["mean"], found["aggregations"]["max"]
    assert (mean["auc"], best["auc"]) == (0.75, 1.0)
    assert mean["log_loss"] == pytest.approx(-np.log([0.5, 0.8, 0.4, 0.8]).mean())
    assert best["difference"] == {"value": 0.25, "low": None, "high": None}  # four cases draw no interval
    assert (found["own"], found["recommended"]) == ("mean", "mean")


def test_what_is_better_beyond_chance_is_recommended_and_what_is_not_is_not():
    random = np.random.default_rng(0)
    label = np.arange(100) % 2
    signal = 1 / (1 + np.exp(-(2 * label - 1 + random.normal(0, 0.5, 100))))
    noise, other = random.uniform(size=(2, 100))
    found = compare_aggregations(
        ICH,
        both(label) == 1,
        {"lesion": both(noise), "mean": both(signal), "max": both(other)},
        "lesion",
        np.arange(100),
    )
    assert found["recommended"] == "mean"
    difference = found["aggregations"]["mean"]["difference"]
    assert 0 < difference["low"] < difference["value"] < difference["high"]
    again = compare_aggregations(
        ICH, both(label) == 1, {"lesion": both(noise), "max": both(other)}, "lesion", np.arange(100)
    )
    assert again["recommended"] == "lesion"


def test_classes_of_a_multilabel_target_are_averaged():
    truth = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], dtype=bool)
    p = np.array([[0.9, 0.1], [0.8, 0.9], [0.1, 0.0], [0.2, 0.5]])
    found = compare_aggregations(FINDINGS, truth, {"max": p}, "max", np.arange(4))
    assert found["aggregations"]["max"]["auc"] == pytest.approx((1 + 0.5) / 2)


def test_one_class_has_no_auc():
    found = compare_aggregations(ICH, both([1.0, 1]) == 1, {"mean": both([0.5, 0.6])}, "mean", np.arange(2))
    assert found["aggregations"]["mean"]["auc"] is None
    assert found["recommended"] == "mean"


def test_what_is_no_better_than_chance_is_not_recommended_in_place_of_what_is_worse():
    label = np.arange(40) % 2
    found = compare_aggregations(
        ICH, both(label) == 1, {"mean": both(1.0 - label), "max": both(np.full(40, 0.5))}, "mean", np.arange(40)
    )
    assert found["aggregations"]["max"]["auc"] == 0.5
    assert found["aggregations"]["max"]["difference"]["low"] > 0
    assert found["recommended"] == "mean"
