import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.checkpoints import load_checkpoint_file

WEIGHTS = {"encoder.weight": torch.arange(6.0).reshape(2, 3)}


class Payload:
    """Would make a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def save(path, **content):
    torch.save(content, path)
    return path


def test_checkpoint_as_nnunet_writes_it(tmp_path):
    path = save(
        tmp_path / "checkpoint_final.pth",
        network_weights=WEIGHTS,
        optimizer_state={"state": {}},
        logging={"mean_fg_dice": [np.float32(0.5), np.float64(0.25)], "train_losses": [np.array(0.1)[()]]},
        _best_ema=np.float32(0.5),
        current_epoch=np.int64(3),
        init_args={"fold": 0, "device": torch.device("cuda", 0), "plans": {"plans_name": "nnUNetPlans"}},
        inference_allowed_mirroring_axes=(0, 1),
    )
    checkpoint = load_checkpoint_file(path)
    assert torch.equal(checkpoint["network_weights"]["encoder.weight"], WEIGHTS["encoder.weight"])
    assert checkpoint["_best_ema"] == 0.5
    assert checkpoint["logging"]["mean_fg_dice"] == [0.5, 0.25]


def test_names_of_numpy_1_are_known(tmp_path):
    path = save(tmp_path / "new.pth", network_weights=WEIGHTS, _best_ema=np.float64(0.75))
    old = tmp_path / "old.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, "w", zipfile.ZIP_STORED) as target:
        for item in source.infolist():
            target.writestr(item.filename, source.read(item).replace(b"numpy._core.multi", b"numpy.core.multi"))
    assert load_checkpoint_file(old)["_best_ema"] == 0.75


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrapped_networks_are_taken_off(tmp_path, prefix):
    path = save(tmp_path / "x.pth", network_weights={f"{prefix}encoder.weight": WEIGHTS["encoder.weight"]})
    assert list(load_checkpoint_file(path)["network_weights"]) == ["encoder.weight"]


@pytest.mark.parametrize("legacy", [False, True])
def test_a_payload_is_refused_and_does_not_run(tmp_path, legacy):
    made = tmp_path / "made"
    path = tmp_path / "x.pth"
    torch.save({"network_weights": WEIGHTS, "x": Payload(made)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match=r"\[unsafe-checkpoint\].*which could run any program -> .*nothing of this"):
        load_checkpoint_file(path)
    assert not made.exists()
    torch.load(path, weights_only=False)
    assert made.exists()  # or the test would prove nothing


def test_the_payload_is_named(tmp_path):
    path = save(tmp_path / "x.pth", network_weights=WEIGHTS, x=Payload(tmp_path / "made"))
    with pytest.raises(InputError, match=rf"got {os.mkdir.__module__}\.mkdir, which"):
        load_checkpoint_file(path)


def test_a_bare_pickle_is_refused_and_does_not_run(tmp_path):
    made = tmp_path / "made"
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Payload(made)))
    with pytest.raises(InputError, match=r"\[(unsafe|unreadable)-checkpoint\]"):
        load_checkpoint_file(tmp_path / "x.pth")
    assert not made.exists()


@pytest.mark.parametrize("content", [b"", b"weights of the network\n", b"\x80\x02", b"PK\x03\x04"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"\[unreadable-checkpoint\] .*x\.pth: expected a file that torch\.save wrote"):
        load_checkpoint_file(path)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_checkpoint_is_refused(tmp_path, share):
    whole = save(tmp_path / "whole.pth", network_weights={"w": torch.zeros(1000)}).read_bytes()
    (tmp_path / "x.pth").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"\[unreadable-checkpoint\].*damaged.*copy it again"):
        load_checkpoint_file(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"state_dict": {}, "epoch": 1}, "got state_dict, epoch"),
        ([1, 2], "got list"),
        ({}, "got nothing"),
        ({"network_weights": [1]}, "got network_weights"),
        ({"network_weights": {"a": 1}}, "got network_weights"),
    ],
)
def test_a_file_without_weights_is_refused(tmp_path, content, words):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(InputError, match=rf"\[no-weights\].*expected network_weights.*{words}"):
        load_checkpoint_file(tmp_path / "x.pth")


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match=r"\[missing-checkpoint\]"):
        load_checkpoint_file(tmp_path / "x.pth")
