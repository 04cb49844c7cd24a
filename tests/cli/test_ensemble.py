"""``nnunet-multitask ensemble`` of 2d and 3d_fullres on the micro dataset, beside ``nnUNetv2_ensemble``."""

import json

import pytest
import torch
from untrained_models import make_untrained

from nnunet_multitask.cli.main import main

TRAINER = "nnUNetTrainerMultiTaskShort"


def test_two_configurations_end_to_end(micro_env, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # it would last beyond the test
    images = str(micro_env.raw / "imagesTs")
    for configuration, plans in (("3d_fullres", "micro"), ("2d", "micro2d")):
        make_untrained(TRAINER, plans, configuration, folds=[0])
        names = ["-d", "901", "-c", configuration, "-p", plans, "-tr", TRAINER, "-o", str(tmp_path / configuration)]
        quick = "-device cpu -npp 0 -nps 0 -step_size 1 --disable_tta --save_probabilities".split()
        assert main(["predict", "-i", images, *names, *quick]) == 0
    members = ["-i", str(tmp_path / "3d_fullres"), str(tmp_path / "2d"), "-np", "1"]
    capsys.readouterr()
    assert main(["ensemble", *members, "-o", str(tmp_path / "joint")]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path / '2d'}: classes and masks\n" in out
    assert "2 cases" in out
    micro_env.run("nnUNetv2_ensemble", *members, "-o", str(tmp_path / "stock"))
    masks = sorted(path.name for path in (tmp_path / "stock").glob("*.nii.gz"))
    assert len(masks) == 2
    for name in masks:
        assert (tmp_path / "joint" / name).read_bytes() == (tmp_path / "stock" / name).read_bytes()
    document = json.loads((tmp_path / "joint" / "classification.json").read_text())
    assert [member["configuration"] for member in document["model"]["ensemble"]] == ["3d_fullres", "2d"]
    assert main(["ensemble", *members, "-o", str(tmp_path / "joint")]) == 1
    assert "[already-exists]" in capsys.readouterr().err
    evaluation = ["--prediction", str(tmp_path / "joint"), "--reference", str(micro_env.raw / "labelsTs")]
    labels = ["--labels", str(micro_env.raw / "class_labels.json"), "--output", str(tmp_path / "evaluation.json")]
    assert main(["evaluate", *evaluation, *labels]) == 0


@pytest.mark.parametrize(("options", "code"), [(["-np", "0"], "bad-processes"), ([], "too-few-members")])
def test_refusals(tmp_path, capsys, options, code):
    assert main(["ensemble", "-i", str(tmp_path / "a"), "-o", str(tmp_path / "out"), *options]) == 1
    assert f"[{code}]" in capsys.readouterr().err
