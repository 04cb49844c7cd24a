import math

import pytest
import torch

from nnunet_multitask.losses.classification import UNKNOWN, ClassificationLoss

TYPES = {"subtype": "multiclass", "ich": "binary", "findings": "multilabel"}


def logits(batch=2):
    zeros = {"subtype": torch.zeros(batch, 3), "ich": torch.zeros(batch, 1), "findings": torch.zeros(batch, 4)}
    return {name: value.requires_grad_() for name, value in zeros.items()}


def labels(batch=2):
    return {
        "subtype": torch.zeros(batch, 1, dtype=torch.long),
        "ich": torch.ones(batch, 1, dtype=torch.long),
        "findings": torch.ones(batch, 4, dtype=torch.long),
    }


def test_undecided_network_by_hand():
    loss = ClassificationLoss(TYPES)(logits(), labels())
    assert loss.item() == pytest.approx((math.log(3) + math.log(2) + math.log(2)) / 3)


def test_unknown_labels_neither_count_nor_pull():
    x = logits()
    y = labels()
    y["subtype"][1] = UNKNOWN
    x["subtype"].data[1] = torch.tensor([5.0, -3.0, 1.0])
    ClassificationLoss({"subtype": "multiclass"})(x, y).backward()
    alone = torch.zeros(1, 3, requires_grad=True)
    ClassificationLoss({"subtype": "multiclass"})({"subtype": alone}, {"subtype": y["subtype"][:1]}).backward()
    torch.testing.assert_close(x["subtype"].grad[0], alone.grad[0])
    assert x["subtype"].grad[1].tolist() == [0, 0, 0]


def test_batch_without_any_label_gives_zero_with_a_gradient():
    x = logits()
    y = {name: torch.full_like(value, UNKNOWN) for name, value in labels().items()}
    loss = ClassificationLoss(TYPES)(x, y)
    loss.backward()
    assert loss.item() == 0
    assert all(value.grad is not None and not value.grad.any() for value in x.values())


def test_class_weights_by_hand():
    weights = {"subtype": torch.tensor([3.0, 1.0, 1.0]), "ich": torch.tensor([1.0, 5.0])}
    loss = ClassificationLoss({"subtype": "multiclass", "ich": "binary"}, weights)(logits(), labels())
    assert loss.item() == pytest.approx((3 * math.log(3) + 5 * math.log(2)) / 2)


def test_multilabel_weights_each_class_by_presence():
    weights = {"findings": torch.tensor([[1.0, 2.0], [1.0, 2.0], [7.0, 1.0], [7.0, 1.0]])}
    y = labels()
    y["findings"][:, 2:] = 0
    loss = ClassificationLoss({"findings": "multilabel"}, weights)(logits(), y)
    assert loss.item() == pytest.approx((2 + 2 + 7 + 7) / 4 * math.log(2))


def test_sample_weights_scale_a_sample_and_not_its_partner():
    loss = ClassificationLoss({"ich": "binary"})
    weights = {"ich": torch.tensor([[1.0], [0.0]])}
    assert loss(logits(), labels(), weights).item() == pytest.approx(math.log(2) / 2)


def test_label_smoothing_by_hand():
    x = {"ich": torch.tensor([[2.0]])}
    p = 1 / (1 + math.exp(-2))
    expected = -0.9 * math.log(p) - 0.1 * math.log(1 - p)
    y = {"ich": torch.ones(1, 1, dtype=torch.long)}
    assert ClassificationLoss({"ich": "binary"}, label_smoothing=0.2)(x, y).item() == pytest.approx(expected)
