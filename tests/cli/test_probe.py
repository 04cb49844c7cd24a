"""Probing untrained models of the micro dataset: nothing is trained, since only the way matters here."""

import json
import shutil

import numpy as np
import pytest
import torch
from untrained_models import make_untrained

from nnunet_multitask.cli.main import main
from nnunet_multitask.inference.features import FeatureExtractor

CPU = torch.device("cpu")


@pytest.fixture
def results(micro_env, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # it would last beyond the test
    return tmp_path


@pytest.mark.parametrize(
    ("trainer", "plans", "configuration"),
    [("nnUNetTrainer", "micro", "3d_fullres"), ("nnUNetTrainerMultiTaskShort", "micro2d", "2d")],
)
def test_stock_and_multitask_models_are_probed(results, capsys, trainer, plans, configuration):
    model = make_untrained(trainer, plans, configuration)
    capsys.readouterr()
    file = results / "probe.json"
    options = ["--permutations", "3", "-o", str(file), "-device", "cpu"]
    assert main(["probe", "-m", str(model), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("subtype: 6 validation cases; chance 0.500") for line in lines)
    document = json.loads(file.read_text())
    probes = document["targets"]["subtype"]["probes"]
    assert [(p["pooling"], p["stage"], p["channels"]) for p in probes] == [
        (pooling, stage, channels) for pooling in ("average", "foreground") for stage, channels in enumerate((4, 8, 8))
    ]
    for found in probes:
        assert found["n"] == 6  # each case is in one fold's validation
        assert 0 <= found["auc"]["value"] <= 1
        assert found["auc"]["interval"]["reason"] == "fewer_than_10_units"
        assert found["auc"]["permuted"]["p"] >= 0.25


def test_features_are_those_of_the_encoder(results, micro_env):
    model = make_untrained("nnUNetTrainer", folds=(0,))
    extract = FeatureExtractor(model, 0, "checkpoint_final.pth", CPU)
    image = np.random.default_rng(0).normal(size=(1, 8, 64, 64)).astype(np.float32)  # one tile
    found = extract(image)
    with torch.no_grad():
        stages = extract.network.encoder(torch.from_numpy(image)[None])
        foreground = torch.softmax(extract.network.decoder(stages), dim=1)[:, 1:]
    for index, stage in enumerate(stages):
        np.testing.assert_allclose(found["average"][index], stage.mean(dim=(0, 2, 3, 4)), atol=1e-5)
    finest = (stages[0] * foreground).sum(dim=(0, 2, 3, 4)) / foreground.sum()
    np.testing.assert_allclose(found["foreground"][0], finest, atol=1e-4)
    again = extract(np.concatenate([image, image], axis=2))  # two equal tiles
    np.testing.assert_allclose(again["average"][2], found["average"][2], atol=1e-5)


def refused(capsys, *argv):
    assert main(["probe", *argv, "-device", "cpu"]) == 1
    return " ".join(line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR"))


def test_what_cannot_be_probed_without_a_leak_is_refused(results, micro_env, capsys):
    model = make_untrained("nnUNetTrainer", folds=(0,))
    (model / "fold_0" / "validation").mkdir()
    (model / "fold_0" / "validation" / "other_case.nii.gz").touch()
    assert "[other-splits]" in refused(capsys, "-m", str(model))
    shutil.move(model / "fold_0", model / "fold_all")
    assert "[missing-checkpoint]" in refused(capsys, "-m", str(model))  # its validation cases are training cases


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--targets", "stage"], ["unknown-target", "subtype", "stage"]),
        (["--permutations", "-1"], ["bad-option"]),
        (["--step-size", "0"], ["bad-option"]),
        (["-f", "1"], ["missing-checkpoint", "fold_1"]),
        (["--labels", "none.json"], ["none.json"]),
    ],
)
def test_refusals(results, micro_env, capsys, options, words):
    model = make_untrained("nnUNetTrainer", folds=(0,))
    said = refused(capsys, "-m", str(model), *options)
    assert all(word in said for word in words), said


def test_no_model(results, capsys):
    assert "[missing-model]" in refused(capsys, "-m", str(results / "nowhere"))
