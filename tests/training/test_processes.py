"""What the processes of a distributed training may unpickle; on the CPU nnU-Net starts none."""

import os
import pickle

import pytest
import torch
from nnunetv2.run import run_training
from payloads import poison

from nnunet_multitask.training.processes import PROCESS, run_process, safe_training

FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


@pytest.fixture
def poisoned(tmp_path):
    torch.save({"network_weights": {}}, tmp_path / "x.pth")
    return poison(tmp_path / "x.pth", tmp_path / "made")


def load_as_nnunet(rank, path):
    torch.load(path, weights_only=False)


@pytest.mark.parametrize("trust", [False, True])
def test_each_process_is_as_strict_as_the_one_that_starts_them(poisoned, tmp_path, monkeypatch, trust):
    monkeypatch.delenv(FORCE, raising=False)
    monkeypatch.setattr(run_training, PROCESS, load_as_nnunet)
    if trust:
        run_process(True, 0, poisoned)
    else:
        with pytest.raises(pickle.UnpicklingError, match="makedirs"):
            run_process(False, 0, poisoned)
    assert (tmp_path / "made").exists() == trust


@pytest.mark.parametrize("trust", [False, True])
def test_nnunet_starts_ours_and_hands_the_variable_on(monkeypatch, trust):
    """The function is sent to processes as a pickle: it must be found again by its name."""
    monkeypatch.delenv(FORCE, raising=False)
    started = []

    def spawn(function, args, **kwargs):
        sent = pickle.loads(pickle.dumps(function))
        started.append((sent.func, sent.args, len(args), os.environ.get(FORCE)))

    monkeypatch.setattr(run_training.mp, "spawn", spawn)
    before = getattr(run_training, PROCESS)
    with safe_training(trust_checkpoint=trust):
        run_training.run_training("901", "3d_fullres", 0, num_gpus=2, device=torch.device("cuda"))
    assert started == [(run_process, (trust,), 12, None if trust else "1")]
    assert getattr(run_training, PROCESS) is before
    assert FORCE not in os.environ
