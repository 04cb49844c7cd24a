import math

from nnunet_multitask.training.stopping import EarlyStopping


def after(patience, losses):
    stopping = EarlyStopping(patience)
    for epoch, loss in enumerate(losses):
        stopping.consider(epoch, loss)
    return stopping


def test_counts_the_epochs_without_a_better_loss():
    stopping = after(3, [1.0, 0.5, 0.5, 0.6])
    assert (stopping.best, stopping.best_epoch, stopping.waited) == (0.5, 1, 2)
    assert not stopping.reached
    stopping.consider(4, 0.7)
    assert stopping.reached
    assert "not been below 0.5000 of epoch 1 for 3 epochs (early_stopping_patience 3)" in stopping.reason()


def test_a_better_loss_begins_anew():
    assert after(2, [1.0, 2.0, 0.9]).waited == 0


def test_no_patience_never_stops():
    assert not after(0, [1.0] * 100).reached


def test_what_is_no_number_is_not_better():
    stopping = after(2, [math.nan, math.nan])
    assert stopping.reached
    assert "not been a number for 2 epochs" in stopping.reason()
    assert after(2, [1.0, math.nan]).best == 1.0


def test_state_comes_back():
    stopping = after(3, [1.0, 2.0])
    again = EarlyStopping(3)
    again.load(stopping.state())
    assert again == stopping
    again.load({})
    assert again == EarlyStopping(3)
