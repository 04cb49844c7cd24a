"""Plans that hide a program where a layer should be."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from toy_models import toy_plans

from nnunet_multitask import environment
from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.loading import load_model_folder
from nnunet_multitask.inference.safe_plans import check_layers
from nnunet_multitask.inference.stock_model import read_stock_model


def architecture(plans):
    return plans["configurations"]["3d_fullres"]["architecture"]


def test_a_program_in_plans_does_not_run(toy_model, tmp_path):
    model, made = shutil.copytree(toy_model, tmp_path / toy_model.name), tmp_path / "made"
    plans = json.loads((model / "plans.json").read_text())
    architecture(plans)["arch_kwargs"] |= {
        "nonlin": "os.makedirs",
        "nonlin_kwargs": {"name": str(made), "exist_ok": True},
    }
    (model / "plans.json").write_text(json.dumps(plans))
    words = r"\[unsafe-plans\] .*plans\.json: expected a layer of torch as nonlin of .*, got os\.makedirs, which"
    with pytest.raises(InputError, match=words):
        load_model_folder(nnUNetPredictor(device=torch.device("cpu")), model)
    with pytest.raises(InputError, match=words):
        read_stock_model(model, [0])
    assert not made.exists()
    environment.activate()
    nnUNetPredictor(device=torch.device("cpu")).initialize_from_trained_model_folder(str(model), (0,))
    assert made.exists()  # or the test would prove nothing


@pytest.mark.parametrize(
    ("key", "name"), [("network_class_name", "torch.hub.load"), ("network_class_name", "subprocess.Popen")]
)
def test_other_names_that_are_called(key, name):
    plans = toy_plans()
    architecture(plans)[key] = name
    with pytest.raises(InputError, match=rf"\[unsafe-plans\] p: expected .* as {key} of 3d_fullres, got {name}"):
        check_layers(plans, "3d_fullres", "p")


def test_layers_pass_and_names_that_nobody_knows():
    plans = toy_plans()
    check_layers(plans, "3d_fullres", Path("p"))
    architecture(plans)["network_class_name"] = "an.older.place.PlainConvUNet"  # nnU-Net finds it by its last part
    architecture(plans)["arch_kwargs"]["dropout_op"] = "torch.nn.Dropout3d"
    check_layers(plans, "3d_fullres", Path("p"))
