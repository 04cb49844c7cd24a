import math

import pytest
import torch
from torch import nn

from nnunet_multitask.inference.collecting import CollectingNetwork, probabilities_of
from nnunet_multitask.labels import Target


class Both(nn.Module):
    def forward(self, x, classify=False):
        return (x * 2, {"a": x.sum()[None]}) if classify else x * 2


def test_caller_gets_the_segmentation_and_every_call_leaves_its_logits():
    collecting = CollectingNetwork(Both())
    assert collecting(torch.ones(1)).tolist() == [2]
    assert collecting(torch.full((1,), 3.0)).tolist() == [6]
    assert [logits["a"].item() for logits in collecting.logits] == [1, 3]


def test_everything_else_is_the_networks():
    network = Both()
    assert CollectingNetwork(network).training is True
    CollectingNetwork(network).eval()
    assert network.training is False


def test_probabilities_by_hand():
    targets = {
        "m": Target("m", "multiclass", ("x", "y", "z")),
        "b": Target("b", "binary", ("no", "yes")),
        "l": Target("l", "multilabel", ("x", "y")),
    }
    logits = {"m": torch.zeros(1, 3), "b": torch.tensor([[math.log(3)]]), "l": torch.tensor([[0.0, -math.log(4)]])}
    probabilities = {name: value[0].tolist() for name, value in probabilities_of(logits, targets).items()}
    assert probabilities["m"] == pytest.approx([1 / 3] * 3)
    assert probabilities["b"] == pytest.approx([0.75])
    assert probabilities["l"] == pytest.approx([0.5, 0.2])
