import numpy as np
import pytest

from nnunet_multitask.evaluation.probing import Part, permuted, probe, scores, tasks_of
from nnunet_multitask.labels import Target


def parts(signal, num_classes=2, cases=60, features=20, folds=2):
    """Folds of noise, in which one feature for each class is larger by ``signal`` standard deviations."""
    random = np.random.default_rng(0)

    def draw(prefix):
        labels = np.arange(cases) % num_classes
        values = random.normal(size=(cases, features))
        values[np.arange(cases), labels] += signal
        return values * 100 + 7, labels, [f"{prefix}{number}" for number in range(cases)]

    return [Part(*draw(f"train{fold}"), *draw(f"val{fold}")) for fold in range(folds)]


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_planted_class_is_found_and_its_permutation_is_at_chance(num_classes):
    found = probe(parts(3.0, num_classes), num_classes, permutations=20)
    assert found["n"] == 120
    assert found["auc"]["value"] > 0.9
    assert found["balanced_accuracy"]["value"] > 0.75
    for name in ("auc", "balanced_accuracy"):
        entry = found[name]
        assert entry["interval"]["low"] < entry["value"] < entry["interval"]["high"]
        assert entry["permuted"]["p"] == pytest.approx(1 / 21)
        assert entry["permuted"]["high"] < entry["value"]
    assert found["auc"]["permuted"]["mean"] == pytest.approx(0.5, abs=0.1)
    assert found["balanced_accuracy"]["permuted"]["mean"] == pytest.approx(1 / num_classes, abs=0.1)


def test_noise_is_not_found():
    found = probe(parts(0.0), 2, permutations=20)
    assert found["auc"]["value"] == pytest.approx(0.5, abs=0.12)
    assert found["auc"]["permuted"]["p"] > 0.05


def test_the_same_data_give_the_same_control():
    first, second = (probe(parts(1.0), 2, permutations=3) for _ in range(2))
    assert first == second


def test_scores_by_hand():
    truth = np.array([0, 0, 1, 1])
    positive = np.array([0.1, 0.6, 0.4, 0.9])
    found = scores(truth, np.stack([1 - positive, positive], axis=1))
    assert found == {"balanced_accuracy": 0.5, "auc": 0.75}  # three of four pairs are in order
    assert scores(np.zeros(2, dtype=int), np.full((2, 2), 0.5)) == {"balanced_accuracy": None, "auc": None}


def test_validation_without_a_class_has_no_scores_and_a_reason():
    (part,) = parts(1.0, folds=1)
    alone = Part(
        part.features, part.labels, part.groups, part.test_features[::2], part.test_labels[::2], part.test_groups[::2]
    )
    found = probe([alone], 2, permutations=2)
    assert found["auc"]["value"] is None
    assert found["auc"]["permuted"] is None
    assert found["auc"]["interval"]["reason"]


def test_cases_of_a_patient_are_permuted_together():
    labels = np.array([0, 0, 1, 1, 0, 0])
    groups = ["a", "a", "b", "b", "c", "c"]
    seen = {tuple(permuted(labels, groups, np.random.default_rng(seed))) for seed in range(20)}
    assert seen == {(0, 0, 1, 1, 0, 0), (1, 1, 0, 0, 0, 0), (0, 0, 0, 0, 1, 1)}


def test_cases_are_permuted_where_a_patient_has_several_classes():
    labels = np.array([0, 1, 1, 0])
    new = permuted(labels, ["a", "a", "b", "b"], np.random.default_rng(0))
    assert sorted(new) == [0, 0, 1, 1]


def test_a_multilabel_target_is_probed_class_by_class():
    targets = {
        "kind": Target("kind", "multiclass", ("a", "b", "c")),
        "findings": Target("findings", "multilabel", ("x", "y")),
        "ill": Target("ill", "binary", ("no", "yes")),
    }
    assert tasks_of(targets) == {
        "kind": ("kind", None, 3),
        "findings/x": ("findings", 0, 2),
        "findings/y": ("findings", 1, 2),
        "ill": ("ill", None, 2),
    }
