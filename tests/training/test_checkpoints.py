"""What a checkpoint keeps beside nnU-Net's keys."""

import numpy as np
import pytest
import torch
from nnunetv2.run.run_training import get_trainer_from_args

from nnunet_multitask.errors import InputError
from nnunet_multitask.training.checkpoints import ENTRY, adding_entry, plain, read_entry, written_beside
from nnunet_multitask.training.trainers import nnUNetTrainerMultiTaskShort


class CountingMixin:
    counter = 0

    def extra_state(self):
        return {**super().extra_state(), "counting": {"counter": self.counter, "weights": self.weights}}

    def load_extra_state(self, state):
        super().load_extra_state(state)
        self.counter = state.get("counting", {}).get("counter", 0)
        self.weights = state.get("counting", {}).get("weights")


class CountingTrainer(CountingMixin, nnUNetTrainerMultiTaskShort):
    weights = torch.tensor([1.0, 2.0])


def counting_trainer(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    template = get_trainer_from_args("901", "3d_fullres", 0, "nnUNetTrainerMultiTaskShort", "micro", device=CPU)
    plans = {**template.plans_manager.plans, "continue_training": False}
    return CountingTrainer(plans, "3d_fullres", 0, template.dataset_json, device=CPU)


CPU = torch.device("cpu")


def test_state_of_a_mixin_comes_back(micro_env, tmp_path, monkeypatch):
    trainer = counting_trainer(tmp_path, monkeypatch)
    trainer.initialize()
    trainer.counter = 7
    path = tmp_path / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(path))
    checkpoint = torch.load(path, weights_only=False)
    assert checkpoint[ENTRY]["counting"]["counter"] == 7
    assert set(checkpoint["network_weights"]) == set(trainer.network.state_dict())
    again = counting_trainer(tmp_path, monkeypatch)
    again.load_checkpoint(str(path))
    assert again.counter == 7
    assert again.weights.tolist() == [1, 2]
    assert not list(tmp_path.glob("*.unfinished"))


def test_a_checkpoint_without_the_entry_gives_fresh_state(micro_env, tmp_path, monkeypatch):
    trainer = counting_trainer(tmp_path, monkeypatch)
    trainer.initialize()
    trainer.save_checkpoint(str(tmp_path / "ours.pth"))
    checkpoint = torch.load(tmp_path / "ours.pth", weights_only=False)
    del checkpoint[ENTRY]
    torch.save(checkpoint, tmp_path / "stock.pth")
    trainer.counter = 7
    trainer.load_checkpoint(str(tmp_path / "stock.pth"))
    assert trainer.counter == 0


def test_a_failed_writing_leaves_the_checkpoint_before(micro_env, tmp_path, monkeypatch):
    trainer = counting_trainer(tmp_path, monkeypatch)
    trainer.initialize()
    path = tmp_path / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(path))
    before = path.read_bytes()
    save = torch.save

    def full_disk(content, filename):
        save(content, filename)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(InputError, match=rf"\[cannot-write\] {path}: .*No space left on device -> free some space"):
        trainer.save_checkpoint(str(path))
    assert torch.save is full_disk
    assert path.read_bytes() == before
    assert list(tmp_path.glob("checkpoint*")) == [path]


def test_a_full_disk_is_told_from_torchs_own_error(tmp_path):
    path = tmp_path / "checkpoint_latest.pth"
    (tmp_path / "checkpoint_latest.pth.unfinished").symlink_to("/dev/full")
    with (
        pytest.raises(InputError, match=rf"\[cannot-write\] {path}: .* -> free some space"),
        written_beside(str(path)) as name,
    ):
        torch.save({"network_weights": torch.zeros(10000)}, name)
    assert not list(tmp_path.iterdir())


def test_another_error_while_writing_stays(tmp_path):
    def fail():
        with written_beside(str(tmp_path / "checkpoint.pth")):
            raise RuntimeError("CUDA error")

    with pytest.raises(RuntimeError, match="CUDA error"):
        fail()


def test_no_checkpoint_where_they_are_disabled(micro_env, tmp_path, monkeypatch):
    trainer = counting_trainer(tmp_path, monkeypatch)
    trainer.initialize()
    trainer.disable_checkpointing = True
    trainer.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    assert not list(tmp_path.glob("checkpoint*"))


def test_only_checkpoints_get_the_entry(tmp_path):
    with adding_entry({"a": 1}):
        torch.save({"network_weights": {}}, tmp_path / "checkpoint.pth")
        torch.save({"other": {}}, tmp_path / "other.pth")
    torch.save({"network_weights": {}}, tmp_path / "later.pth")
    assert read_entry(tmp_path / "checkpoint.pth") == {"a": 1}
    assert read_entry(tmp_path / "later.pth") == {}
    assert list(torch.load(tmp_path / "other.pth")) == ["other"]


@pytest.mark.parametrize("content", ["half", "text"])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "checkpoint_latest.pth"
    torch.save({"network_weights": {"w": torch.ones(1000)}}, path)
    path.write_bytes(path.read_bytes()[:2000] if content == "half" else b"no checkpoint")
    with pytest.raises(InputError, match=rf"\[damaged-checkpoint\] {path}: .* -> remove the file; --c then takes"):
        read_entry(path)


def test_state_is_plain_and_loads_without_unpickling(tmp_path):
    state = plain({"best": np.float64(0.5), "epoch": np.int64(3), "said": ("a", None), "w": torch.ones(1).double()})
    torch.save(state, tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == {
        "best": 0.5, "epoch": 3, "said": ["a", None], "w": torch.ones(1).double(),
    }  # fmt: skip


def test_what_would_be_pickled_is_refused_by_its_place():
    with pytest.raises(TypeError, match=r"multitask_training/stopping/1: expected plain values .*, got set"):
        plain({"stopping": [1, {2}]})
