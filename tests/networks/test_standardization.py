import pytest
import torch

from nnunet_multitask.networks.standardization import RunningStandardization


def test_moments_come_to_those_of_the_data():
    torch.manual_seed(0)
    scale = RunningStandardization(2, momentum=0.01)
    for _ in range(1000):
        scale(torch.tensor([5.0, -3.0]) + torch.tensor([0.1, 2.0]) * torch.randn(2, 2))
    torch.testing.assert_close(scale.mean, torch.tensor([5.0, -3.0]), atol=0.3, rtol=0)
    torch.testing.assert_close(scale.variance.sqrt(), torch.tensor([0.1, 2.0]), rtol=0.2, atol=0)


def test_evaluation_changes_nothing_and_does_not_depend_on_the_batch():
    scale = RunningStandardization(1)
    for value in (1.0, 2.0, 3.0):
        scale(torch.full((2, 1), value))
    scale.eval()
    before = {name: value.clone() for name, value in scale.state_dict().items()}
    both = scale(torch.tensor([[1.0], [9.0]]))
    assert both[0].item() == pytest.approx(scale(torch.tensor([[1.0]])).item())
    assert all(torch.equal(before[name], value) for name, value in scale.state_dict().items())


def test_first_batch_and_constant_feature_stay_finite():
    scale = RunningStandardization(1)
    for _ in range(5):
        assert torch.isfinite(scale(torch.full((1, 1), 7.0))).all()
    assert scale(torch.full((1, 1), 7.0)).item() == pytest.approx(0, abs=1e-2)
