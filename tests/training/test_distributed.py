"""Two processes that train together take the step that one takes on the batches of both."""

import pytest
import torch
from two_processes import joint_step, run_in_two_processes, samples_for, scenarios


@pytest.fixture(scope="module")
def processes():
    return run_in_two_processes()


@pytest.mark.parametrize("name", scenarios())
def test_two_processes_have_the_gradient_of_one_on_the_joint_batch(processes, name):
    """The first process knows no label, the second lacks a mask: both take part in every backward pass."""
    if name == "pcgrad":
        pytest.importorskip("torchjd")
    scenario = scenarios()[name]
    alone = joint_step(scenario["settings"], samples_for(scenario), batch_dice=scenario.get("batch_dice", False))
    for together in (process[name] for process in processes):
        for parameter, gradient in alone["gradients"].items():
            torch.testing.assert_close(together["gradients"][parameter], gradient, rtol=1e-4, atol=1e-6, msg=parameter)
        torch.testing.assert_close(together["losses"], alone["losses"])
        torch.testing.assert_close(together["weights"], alone["weights"])
        assert together["complete"] == alone["complete"] == scenario.get("labels", True)


def test_learned_weights_moved_where_there_was_a_label_and_only_there(processes):
    start = torch.tensor([1.0, 0.7], dtype=torch.float64)
    for process in processes:
        for name in ("uncertainty", "gradnorm"):
            assert not torch.allclose(process[name]["weights"], start)
        assert torch.allclose(process["no label"]["weights"], start)
        assert torch.equal(process["fixed"]["weights"], start)


def test_gradient_norms_are_those_of_the_joint_batch_up_to_a_factor(processes):
    alone = joint_step({"classification_weight": 0.7}, samples_for({}))["gradient_norms"]
    for process in processes:
        norms = process["fixed"]["gradient_norms"]
        torch.testing.assert_close(norms / norms.sum(), alone / alone.sum())


def test_conflicting_gradients_were_projected(processes):
    """Else the scenario would test nothing: the shared gradient differs from the plain sum."""
    pytest.importorskip("torchjd")
    first, second, product = processes[0]["pcgrad"]["sums"].tolist()
    assert first > 0
    assert second > 0
    assert product < 0


def test_values_of_both_processes_are_gathered_in_both(processes):
    assert [process["gathered"] for process in processes] == [[0, "case 0", 10, "case 1"]] * 2
