"""Dealing groups into folds: as even as whole groups allow, and never less even than scikit-learn's folds."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from nnunet_multitask.stratification import deal, imbalance


def per_fold(features: np.ndarray, folds: np.ndarray, num_folds: int) -> np.ndarray:
    return np.stack([features[folds == fold].sum(axis=0) for fold in range(num_folds)])


def test_imbalance_by_hand() -> None:
    features = np.array([[1, 1], [1, 1], [1, 0], [1, 0]])
    assert imbalance(features, np.array([0, 1, 0, 1]), 2) == 0
    # fold 0 holds 2 and 2, fold 1 holds 2 and 0; the shares are 2 and 1: (1 + 1) / 2
    assert imbalance(features, np.array([0, 0, 1, 1]), 2) == 1


def test_one_large_group_has_a_fold_for_itself() -> None:
    features = np.array([[6], [1], [1], [1], [1], [1], [1]])
    folds = deal(features, 2, seed=0)
    assert per_fold(features, folds, 2).ravel().tolist() == [6, 6]


def test_an_exchange_that_dealing_in_order_misses() -> None:
    """Largest first gives 5+2+2 and 4+3: no single move helps, an exchange of 5 and 4 gives 8 and 8."""
    features = np.array([[5], [4], [3], [2], [2]])
    assert per_fold(features, deal(features, 2, seed=0), 2).ravel().tolist() == [8, 8]


def test_every_class_of_several_targets_differs_by_one_at_most() -> None:
    random = np.random.default_rng(3)
    labels = (random.random((200, 8)) < [0.5, 0.3, 0.2, 0.1, 0.08, 0.05, 0.04, 0.03]).astype(int)
    features = np.hstack([np.ones((200, 1), int), labels])
    held = per_fold(features, deal(features, 5, seed=0), 5)
    assert np.ptp(held, axis=0).max() <= 1


def test_the_seed_moves_groups_and_not_the_balance() -> None:
    random = np.random.default_rng(0)
    features = random.integers(0, 3, (60, 4))
    first, second = deal(features, 5, seed=1), deal(features, 5, seed=2)
    assert (first != second).any()
    assert np.array_equal(per_fold(features, first, 5), per_fold(features, second, 5))
    assert np.array_equal(first, deal(features, 5, seed=1))


def test_nothing_to_deal() -> None:
    assert deal(np.zeros((0, 3), np.int64), 5, seed=0).shape == (0,)


@settings(deadline=None, max_examples=40)
@given(
    features=st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=30),
    num_folds=st.integers(1, 6),
)
def test_every_group_gets_a_fold_and_more_folds_than_groups_are_fine(features: list[list[int]], num_folds: int) -> None:
    folds = deal(np.array(features), num_folds, seed=0)
    assert folds.shape == (len(features),)
    assert ((folds >= 0) & (folds < num_folds)).all()


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_never_less_even_than_scikit_learn() -> None:
    """One target, patients with several cases: by ``imbalance`` over classes and number of cases, cohort by cohort."""
    random = np.random.default_rng(7)
    ours, theirs = [], []
    while len(ours) < 60:
        num_cases, num_classes, num_folds = random.integers(20, 200), random.integers(2, 6), random.integers(2, 8)
        classes = random.choice(num_classes, num_cases, p=random.dirichlet(np.ones(num_classes)))
        patients = random.integers(0, random.integers(num_folds, num_cases), num_cases)
        _, patient_of = np.unique(patients, return_inverse=True)
        if patient_of.max() + 1 < num_folds or np.bincount(classes).max() < num_folds:
            continue  # scikit-learn refuses it
        features = np.zeros((patient_of.max() + 1, num_classes + 1), np.int64)
        np.add.at(features, (patient_of, classes), 1)
        features[:, -1] = np.bincount(patient_of)
        reference = np.zeros(len(features), np.int64)
        folds = StratifiedGroupKFold(num_folds, shuffle=True, random_state=0).split(classes, classes, patient_of)
        for fold, (_, validation) in enumerate(folds):
            reference[patient_of[validation]] = fold
        ours.append(imbalance(features, deal(features, num_folds, seed=0), num_folds))
        theirs.append(imbalance(features, reference, num_folds))
    assert all(mine <= other + 1e-9 for mine, other in zip(ours, theirs, strict=True))
    assert np.mean(ours) < 0.85 * np.mean(theirs)
    print(f"imbalance: {np.mean(ours):.3f}, StratifiedGroupKFold {np.mean(theirs):.3f}")


def test_thousands_of_groups_take_seconds() -> None:
    random = np.random.default_rng(1)
    sizes = random.integers(1, 4, 5000)
    features = np.stack([*(random.binomial(sizes, share) for share in random.uniform(0.02, 0.4, 12)), sizes], axis=1)
    start = time.perf_counter()
    folds = deal(features, 5, seed=0)
    assert time.perf_counter() - start < 20
    assert np.ptp(per_fold(features, folds, 5), axis=0).max() <= 1
