import os
import pickle
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from payloads import poison

from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.checkpoints import load_checkpoint_file, safe_loading

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


def load_as_nnunet(path):
    return torch.load(path, map_location="cpu", weights_only=False)


@pytest.fixture
def poisoned(tmp_path):
    return poison(save(tmp_path / "x.pth", network_weights=WEIGHTS, _best_ema=np.float64(0.5)), tmp_path / "made")


def test_nnunets_own_loading_is_safe_in_the_block(poisoned, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # of a user who works around something
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    clean = save(tmp_path / "clean.pth", network_weights=WEIGHTS, _best_ema=np.float64(0.5))
    with safe_loading():
        assert load_as_nnunet(clean)["_best_ema"] == 0.5
        with pytest.raises(InputError, match=r"\[unsafe-checkpoint\]"):
            load_checkpoint_file(poisoned)
        with pytest.raises(pickle.UnpicklingError, match=r"os\.makedirs"):  # the inner block has left the outer one be
            load_as_nnunet(poisoned)
        assert load_as_nnunet(clean)["_best_ema"] == 0.5
    assert not (tmp_path / "made").exists()
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    load_as_nnunet(poisoned)
    assert (tmp_path / "made").exists()


class Score:
    """Of a trainer of one's own."""

    def __init__(self, value):
        self.value = value


def test_what_a_user_has_allowed_stays_allowed(tmp_path):
    path = save(tmp_path / "x.pth", network_weights=WEIGHTS, best=np.float64(1), of={Score(1.5)})
    before = set(torch.serialization.get_safe_globals())  # torch's own parts allow some
    with torch.serialization.safe_globals([Score, set, np.dtype]):
        assert {score.value for score in load_checkpoint_file(path)["of"]} == {1.5}
        assert set(torch.serialization.get_safe_globals()) == {*before, Score, set, np.dtype}
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(InputError, match=r"\[unsafe-checkpoint\].*Score"):
        load_checkpoint_file(path)


def test_threads_do_not_open_each_others_blocks(poisoned, tmp_path):
    """One thread ends its block while another one is in its own."""
    entered, ended = threading.Event(), threading.Event()

    def other():
        with safe_loading():
            entered.set()
            ended.wait(10)
            with pytest.raises(pickle.UnpicklingError):
                load_as_nnunet(poisoned)

    with ThreadPoolExecutor(1) as pool:
        with safe_loading():
            future = pool.submit(other)
            entered.wait(10)
        ended.set()
        future.result()
    assert not (tmp_path / "made").exists()


def test_trust_is_for_one_block_and_warns(poisoned, tmp_path, caplog):
    assert "network_weights" in load_checkpoint_file(poisoned, trust_checkpoint=True)
    assert (tmp_path / "made").exists()
    assert f"WARNING {poisoned}: you trust this checkpoint. Loading it runs whatever program" in caplog.text
    (tmp_path / "made").rmdir()
    with pytest.raises(InputError, match=r"\[unsafe-checkpoint\]"):
        load_checkpoint_file(poisoned)
    with safe_loading(trust_checkpoint=True):
        load_checkpoint_file(poisoned)
        assert (tmp_path / "made").exists()
        with safe_loading():  # as a trainer's load_checkpoint does
            load_as_nnunet(poisoned)


def test_trust_does_not_mend_a_damaged_file(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"\[unreadable-checkpoint\].*copy it again"):
        load_checkpoint_file(tmp_path / "x.pth", trust_checkpoint=True)
