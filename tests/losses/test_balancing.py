"""Fixed and learned weights of the two losses."""

import math

import pytest
import torch

from nnunet_multitask.config import MultiTaskConfig
from nnunet_multitask.losses.balancing import Balancer, Observation
from nnunet_multitask.losses.gradnorm import GradNorm
from nnunet_multitask.losses.uncertainty import UncertaintyWeights


def settings(**changes):
    return MultiTaskConfig(classification_weight=0.5, balancing_rate=0.1, **changes)


def observation(segmentation=1.0, classification=1.0, norms=(1.0, 1.0), complete=True):
    losses = torch.tensor([segmentation, classification], dtype=torch.float64)
    return Observation(losses, torch.tensor(norms, dtype=torch.float64), complete)


def test_warm_up_grows_linearly_to_the_weight():
    balancer = Balancer(settings(warmup_epochs=3))
    weights = []
    for epoch in range(6):
        balancer.epoch = epoch
        weights.append(balancer.effective_weights())
    assert [weight for weight, _ in weights] == [1] * 6
    assert [weight for _, weight in weights] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5, 0.5])
    assert Balancer(settings()).effective_weights() == (1, 0.5)


def test_fixed_gradient_is_the_weighted_sum():
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    Balancer(settings()).backward(x[0] ** 2, x.sum())
    assert x.grad.tolist() == [4.5, 0.5]


def test_uncertainty_settles_where_each_weight_is_half_the_inverse_loss():
    """Kendall et al. 2018, eq. 10: the minimum of exp(-s) L + s / 2 is at exp(-s) = 1 / (2 L)."""
    balancer = UncertaintyWeights(settings())
    assert balancer.effective_weights() == pytest.approx((1, 0.5))
    for _ in range(400):
        balancer.observe(observation(0.25, 2.0))
    assert balancer.effective_weights() == pytest.approx((2.0, 0.25), rel=1e-3)


def test_uncertainty_gradient_is_that_of_the_joint_loss():
    balancer = UncertaintyWeights(settings())
    s = balancer.learned.detach().clone().requires_grad_()
    losses = torch.tensor([0.3, 1.7], dtype=torch.float64)
    (torch.exp(-s) * losses + s / 2).sum().backward()
    torch.testing.assert_close(balancer.gradient(observation(0.3, 1.7)), s.grad)


def test_gradnorm_gradient_is_that_of_the_papers_loss():
    """Chen et al. 2018, eq. 2, with the wanted norms held fixed; by autograd, in units of the mean norm."""
    balancer = GradNorm(settings(gradnorm_alpha=1.5))
    balancer.gradient(observation(2.0, 1.0))  # the first losses
    plain = torch.tensor([3.0, 8.0], dtype=torch.float64)  # norms of the gradients without weights
    weights = balancer.weights.clone().requires_grad_()
    norms = weights * plain
    rates = torch.tensor([1.0 / 2.0, 0.9 / 1.0], dtype=torch.float64)
    wanted = (norms.mean() * (rates / rates.mean()) ** 1.5).detach()
    (norms - wanted).abs().sum().backward()
    gradient = balancer.gradient(observation(1.0, 0.9, norms.tolist()))
    torch.testing.assert_close(gradient, weights.grad / norms.mean().detach())


def test_gradnorm_raises_the_weight_of_the_task_with_the_smaller_gradient():
    balancer = GradNorm(settings(gradnorm_alpha=0.0))
    plain = torch.tensor([1.0, 3.0], dtype=torch.float64)
    for _ in range(300):
        balancer.observe(observation(norms=tuple((balancer.weights * plain).tolist())))
    segmentation, classification = balancer.effective_weights()
    assert segmentation + classification == pytest.approx(1.5)  # as at the start
    assert segmentation == pytest.approx(3 * classification, rel=0.2)  # equal norms; Adam circles around


def test_gradnorm_raises_the_weight_of_the_task_that_lags_behind():
    balancer = GradNorm(settings(gradnorm_alpha=1.0))
    balancer.observe(observation(1.0, 1.0, (1.0, 1.0)))
    _, before = balancer.effective_weights()
    balancer.observe(observation(0.5, 1.0, (1.0, 1.0)))  # segmentation halved its loss
    assert balancer.effective_weights()[1] > before


@pytest.mark.parametrize("kind", [UncertaintyWeights, GradNorm])
def test_steps_that_teach_nothing_change_nothing(kind):
    balancer = kind(settings(warmup_epochs=1))
    balancer.epoch = 1
    balancer.observe(observation(2.0, 3.0, complete=False))
    if kind is GradNorm:
        balancer.observe(observation(2.0, 3.0, (1.0, 0.0)))
    balancer.epoch = 0  # warm-up
    balancer.observe(observation(2.0, 3.0, (1.0, 2.0)))
    assert balancer.effective_weights() == pytest.approx((1, 0.25))


@pytest.mark.parametrize("kind", [UncertaintyWeights, GradNorm])
def test_state_goes_on_as_if_nothing_had_happened(kind):
    def steps(balancer, numbers):
        for number in numbers:
            balancer.observe(observation(1 / (number + 1), 0.7, (1.0, 2.0 + number % 3)))

    whole, before, after = (kind(settings()) for _ in range(3))
    steps(whole, range(10))
    steps(before, range(6))
    after.load_state(before.state())
    assert after.effective_weights() == before.effective_weights()
    steps(after, range(6, 10))
    assert after.effective_weights() == whole.effective_weights()


def test_observation_shifts_dice_and_tells_what_was_missing():
    sums = torch.tensor([4.0, 9.0, -1.0])
    seen = Observation.of_step(torch.tensor([-0.75, 0.5]), sums, torch.tensor([2, 1]))
    assert seen.losses.tolist() == [0.25, 0.5]
    assert seen.gradient_norms.tolist() == [2, 3]
    assert seen.complete
    assert not Observation.of_step(torch.tensor([-0.75, 0.0]), sums, torch.tensor([2, 0])).complete
    assert not Observation.of_step(torch.tensor([0.0, 0.5]), sums, torch.tensor([0, 1])).complete
    assert not Observation.of_step(torch.tensor([-0.75, 0.0]), sums, torch.tensor([2, 1])).complete  # of weight 0
    overflow = Observation.of_step(torch.tensor([-0.75, 0.5]), sums * math.inf, torch.tensor([2, 1]))
    assert not overflow.complete
