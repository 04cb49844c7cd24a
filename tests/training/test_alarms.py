"""Alarms on curves made by hand."""

import math

import pytest

from nnunet_multitask.labels import Target
from nnunet_multitask.training.alarms import EPOCHS, Alarms, collapse, overfitting

NAN = math.nan
KIND = Target("kind", "multiclass", ("A", "B", "C"))
FINDINGS = Target("findings", "multilabel", ("X", "Y"))


def recalls(target, *epochs):
    return {f"{target.name}/recall/{name}": [e[i] for e in epochs] for i, name in enumerate(target.classes)}


def test_one_class_for_all_is_a_collapse():
    message = collapse(recalls(KIND, *[(0, 1, 0)] * EPOCHS), KIND)
    assert message.startswith("kind: every validation patch was called B for 5 epochs, though other classes")
    assert "-> try class_weights=balanced" in message


@pytest.mark.parametrize(
    "epochs",
    [
        [(0, 1, 0)] * (EPOCHS - 1),  # not long enough
        [(0.1, 0.9, 0)] + [(0, 1, 0)] * (EPOCHS - 1),  # some were called A
        [(1, 0, 0)] + [(0, 1, 0)] * (EPOCHS - 1),  # first all A, then all B: it still moves
        [(NAN, 1, NAN)] * EPOCHS,  # nothing but B was drawn
        [(1, 1, 1)] * EPOCHS,  # all are right
        [(0, 1, 1)] * EPOCHS,
    ],
)
def test_what_is_no_collapse(epochs):
    assert collapse(recalls(KIND, *epochs), KIND) is None


def test_epochs_with_one_class_only_are_passed_over():
    epochs = [(0, 1, NAN)] * 3 + [(NAN, 1, NAN)] * 4 + [(NAN, 1, 0)] * 2
    assert collapse(recalls(KIND, *epochs), KIND) is not None


def test_a_multilabel_head_that_finds_nothing():
    assert "no class was found" in collapse(recalls(FINDINGS, *[(0, NAN)] * EPOCHS), FINDINGS)
    assert collapse(recalls(FINDINGS, *[(0, 0.2)] * EPOCHS), FINDINGS) is None
    assert collapse(recalls(FINDINGS, *[(NAN, NAN)] * EPOCHS), FINDINGS) is None


def test_a_validation_loss_that_rises_while_training_falls_is_overfitting():
    train = [1 - 0.05 * epoch for epoch in range(18)]
    val = [1.0, 0.8, 0.6, 0.6, 0.6, 0.6, 0.6, *[0.9] * 11]
    message = overfitting(train, val)
    # the lowest mean of five is that of epochs 2 to 6; training: mean of 2..6 is 0.80, of 13..17 0.25
    assert "since epoch 6 its training loss has fallen from 0.800 to 0.250" in message
    assert "risen by 50 % to 0.900" in message
    assert overfitting(train[:-6], val[:-6]) is None  # not above the margin for five epochs yet
    assert overfitting([1.0] * 18, val) is None  # training does not fall
    assert overfitting(train, [min(loss, 0.7) for loss in val]) is None  # 17 % are within the margin
    assert overfitting(train, [NAN] * 18) is None
    assert overfitting(train[:9], val[:9]) is None


def test_each_alarm_is_told_once_and_again_when_it_comes_back():
    alarms = Alarms()
    losses = {"train_losses_classification": [1.0], "val_losses_classification": [1.0]}

    def told(*epochs):
        return len(alarms.consider({**losses, **recalls(KIND, *epochs)}, {"kind": KIND}))

    collapsed, fine = [(0, 1, 0)] * EPOCHS, [(0.5, 1, 0.5)]
    assert [told(*collapsed), told(*collapsed, (0, 1, 0)), told(*collapsed, *fine)] == [1, 0, 0]
    assert told(*fine, *collapsed) == 1
    again = Alarms()
    again.load(alarms.state())
    assert again == alarms != Alarms()
