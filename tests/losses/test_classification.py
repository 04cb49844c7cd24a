import math

import pytest
import torch

from nnunet_multitask.losses.classification import UNKNOWN, ClassificationLoss, label_counts

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


def test_focal_loss_by_hand():
    """Lin et al. 2017, eq. 4: -(1 - p)^2 log p, of p = 0.75 among three classes and of p = 0.9 of a binary target."""
    x = {"subtype": torch.log(torch.tensor([[0.75, 0.15, 0.10]])), "ich": torch.logit(torch.tensor([[0.1]]))}
    y = {"subtype": torch.zeros(1, 1, dtype=torch.long), "ich": torch.zeros(1, 1, dtype=torch.long)}
    types = {"subtype": "multiclass", "ich": "binary"}
    expected = (-(0.25**2) * math.log(0.75) - 0.1**2 * math.log(0.9)) / 2
    assert ClassificationLoss(types, focal_gamma=2.0)(x, y).item() == pytest.approx(expected, rel=1e-5)


def test_focal_loss_of_a_smoothed_label_by_hand():
    """Both outcomes of a binary target have their own focus: 0.9 of the label is present, 0.1 absent."""
    x = {"ich": torch.logit(torch.tensor([[0.8]]))}
    y = {"ich": torch.ones(1, 1, dtype=torch.long)}
    expected = -0.9 * 0.2**2 * math.log(0.8) - 0.1 * 0.8**2 * math.log(0.2)
    loss = ClassificationLoss({"ich": "binary"}, label_smoothing=0.2, focal_gamma=2.0)(x, y)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_without_focus_it_is_torchs_cross_entropy(smoothing):
    generator = torch.Generator().manual_seed(0)
    x = {"subtype": torch.randn(5, 3, generator=generator), "ich": torch.randn(5, 1, generator=generator)}
    y = {"subtype": torch.tensor([[0], [2], [1], [1], [0]]), "ich": torch.tensor([[0], [1], [1], [0], [1]])}
    multiclass = torch.nn.functional.cross_entropy(x["subtype"], y["subtype"][:, 0], label_smoothing=smoothing)
    smooth = y["ich"] * (1 - smoothing) + smoothing / 2
    binary = torch.nn.functional.binary_cross_entropy_with_logits(x["ich"], smooth)
    types = {"subtype": "multiclass", "ich": "binary"}
    loss = ClassificationLoss(types, label_smoothing=smoothing, focal_gamma=0.0)(x, y)
    torch.testing.assert_close(loss, (multiclass + binary) / 2)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_gradient_stays_finite_where_the_network_is_certain(gamma):
    x = {"subtype": torch.tensor([[200.0, 0, 0], [-200, 0, 0]]), "ich": torch.tensor([[200.0], [-200]])}
    for value in x.values():
        value.requires_grad_()
    types = {"subtype": "multiclass", "ich": "binary"}
    y = {name: values for name, values in labels().items() if name in types}
    ClassificationLoss(types, focal_gamma=gamma)(x, y).backward()
    assert all(torch.isfinite(value.grad).all() for value in x.values())


def test_samples_one_by_one_add_up_to_the_batch():
    generator = torch.Generator().manual_seed(0)
    x = {"subtype": torch.randn(3, 3, generator=generator), "findings": torch.randn(3, 4, generator=generator)}
    y = {name: values for name, values in labels(3).items() if name in x}
    y["subtype"][1] = UNKNOWN
    y["findings"][2, :3] = UNKNOWN
    loss = ClassificationLoss({"subtype": "multiclass", "findings": "multilabel"})
    counts = label_counts(y)
    assert {name: count.item() for name, count in counts.items()} == {"subtype": 2, "findings": 9}
    parts = [
        loss({n: v[i : i + 1] for n, v in x.items()}, {n: v[i : i + 1] for n, v in y.items()}, counts=counts)
        for i in range(3)
    ]
    torch.testing.assert_close(sum(parts), loss(x, y))
