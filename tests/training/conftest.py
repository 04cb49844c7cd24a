"""Trainers on the micro dataset with a results folder of their own, and without the slow pictures."""

import json

import pytest
import torch
from nnunetv2.training.logging.nnunet_logger import LocalLogger

from nnunet_multitask.training import multitask, trainers


@pytest.fixture
def make(micro_env, tmp_path, monkeypatch):
    """Return a function that makes a trainer of the plans ``micro`` with changed settings."""
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    monkeypatch.setattr(LocalLogger, "plot_progress_png", lambda self, folder: None)  # a second of each epoch
    monkeypatch.setattr(multitask, "draw_curves", lambda *args: None)
    dataset_json = json.loads((micro_env.preprocessed / "dataset.json").read_text())

    def make_trainer(name="nnUNetTrainerMultiTaskShort", config=None, resume=False, **schedule):
        plans = json.loads((micro_env.preprocessed / "micro.json").read_text())
        block = plans["multitask"]
        block["schedule"] = {**block["schedule"], "save_every": 50, **schedule}
        block["config"] = {**block["config"], **(config or {})}
        plans["continue_training"] = resume
        kind = getattr(trainers, name) if isinstance(name, str) else name
        return kind(plans, "3d_fullres", 0, dataset_json, device=torch.device("cpu"))

    return make_trainer
