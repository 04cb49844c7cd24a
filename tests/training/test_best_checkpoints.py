import math

import pytest

from nnunet_multitask.labels import Target
from nnunet_multitask.training.best_checkpoints import (
    CLASSIFICATION,
    JOINT,
    BestCheckpoints,
    classification_score,
    moving_average,
)

NAN = math.nan
A, B = Target("a", "binary", ("no", "yes")), Target("b", "binary", ("no", "yes"))


def test_the_moving_average_starts_from_chance():
    assert moving_average([0.6]) == pytest.approx(0.9 * 0.5 + 0.1 * 0.6)
    assert moving_average([0.6, NAN, 1.0]) == pytest.approx(0.9 * 0.51 + 0.1 * 1.0)
    assert moving_average([1.0]) < moving_average([1.0, 0.8])  # a lucky first epoch does not stay the best
    assert math.isnan(moving_average([NAN]))


def test_score_is_the_mean_over_targets_and_of_cases_where_there_are():
    curves = {"a/auc": [NAN, 1.0], "b/auc": [0.7, NAN], "a/case_auc": [NAN, NAN], "b/case_auc": [0.1, NAN]}
    score, of_cases = classification_score(curves, [A, B])
    assert (score, of_cases) == (pytest.approx((0.9 * 0.5 + 0.1 * 1.0 + 0.9 * 0.5 + 0.1 * 0.7) / 2), False)
    curves |= {"a/case_auc": [NAN, 0.9], "b/case_auc": [NAN, 0.8]}
    assert classification_score(curves, [A, B]) == (pytest.approx(0.85), True)
    score, of_cases = classification_score({"a/auc": [NAN], "a/case_auc": [NAN]}, [A])
    assert math.isnan(score)


def test_joint_is_the_mean_of_both_tasks():
    best = BestCheckpoints()
    assert best.consider(0, 0.6, 0.2, False) == [CLASSIFICATION, JOINT]
    assert best.consider(1, 0.5, 0.4, False) == [JOINT]
    assert best.best == {CLASSIFICATION: (0.6, 0), JOINT: (pytest.approx(0.45), 1)}
    assert best.consider(2, 0.7, 0.1, False) == [CLASSIFICATION]
    assert best.consider(3, NAN, 1.0, False) == []
    assert best.described(CLASSIFICATION) == (
        "new best mean AUC: 0.7000 (validation patches, moving average), for checkpoint_best_classification.pth"
    )


def test_scores_of_cases_begin_anew_and_then_count_alone():
    best = BestCheckpoints()
    best.consider(0, 0.9, 0.5, False)
    assert best.consider(1, 0.7, 0.5, True) == [CLASSIFICATION, JOINT]
    assert best.consider(2, 0.99, 0.5, False) == []
    assert best.consider(3, 0.8, 0.5, True) == [CLASSIFICATION, JOINT]


def test_state_comes_back():
    best = BestCheckpoints()
    best.consider(0, 0.9, 0.5, True)
    again = BestCheckpoints()
    again.load(best.state())
    assert again == best
    again.load({})
    assert again == BestCheckpoints()
