"""The benchmark of a prediction on a tiny network: all three systems predict the same case."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script as a module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("_harness", "train_step", "predict"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv("nnUNet_extTrainer", "")
    return importlib.import_module("predict")


@pytest.fixture
def tiny(predict: ModuleType) -> object:
    setting = predict.Setting("tiny", (2, 4, 4), (8, 32, 32), 0, 0)
    return predict.Work(setting, (8, 32, 40), (2,), rounds=2)


def test_systems_predict_the_same_case(predict: ModuleType, tiny: object, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    predict.prepare(tmp_path, tiny)
    seconds, passed = predict.times(tmp_path, tiny)
    torch.set_num_threads(threads)
    assert set(seconds) == {"joint", "nnU-Net", "ResNet3D"}
    assert all(len(values) == 2 and min(values) > 0 for values in (*seconds.values(), *passed.values()))
    masks = [(tmp_path / "out" / name / "case.nii.gz").read_bytes() for name in ("joint", "nnU-Net")]
    assert masks[0] == masks[1]
    assert (tmp_path / "out" / "ResNet3D" / "classification.json").is_file()
    assert not (tmp_path / "out" / "nnU-Net" / "classification.json").exists()


def test_figures_are_ratios_of_medians(
    predict: ModuleType, tiny: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = {"joint": [1.0, 1.04, 9.0], "nnU-Net": [1.0, 1.0, 2.0], "ResNet3D": [0.6, 1.6, 0.5]}
    monkeypatch.setattr(predict, "FULL", replace(tiny, rounds=3))  # type: ignore[type-var]
    monkeypatch.setattr(predict, "prepare", lambda *args: None)
    monkeypatch.setattr(predict, "times", lambda *args: (seconds, seconds))
    monkeypatch.setattr(predict, "memory_mib", lambda folder, work, name: {"joint": 110.0, "nnU-Net": 100.0}[name])
    assert predict.main([]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "predict: time of a case 1.04 times nnU-Net's (target at most 1.05 times nnU-Net's); "
        "time of a case 0.416 times nnU-Net's and ResNet3D's (target at most 0.8 times nnU-Net's and ResNet3D's); "
        "peak memory 1.1 times nnU-Net's (target at most 1.05 times nnU-Net's, missed)"
    )
    assert predict.main(["--check"]) == 1
