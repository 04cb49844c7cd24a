"""The benchmark of a training step on a tiny network: both trainers take steps on the same batch."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def train_step(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script as a module; the variables that it sets are put back."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("_harness", "train_step"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_extTrainer"):
        monkeypatch.setenv(variable, "")
    return importlib.import_module("train_step")


def test_tiny_run(train_step: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = train_step.Setting("tiny", (2, 4, 4), (8, 32, 32), max_ratio=1000.0, rounds=2)
    monkeypatch.setattr(train_step, "CPU", (tiny,))
    monkeypatch.setattr(
        train_step, "memory_mib", lambda setting, name, repeats: {"vanilla": 10.0, "multi-task": 11.0}[name]
    )
    assert train_step.main(["--check"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("tiny ")
    assert first.endswith("memory 1.100")
    assert last.startswith("train_step: time of a step, tiny ")


def test_batch_fits_the_network(train_step: ModuleType) -> None:
    setting = train_step.Setting("tiny", (2, 4, 4), (8, 32, 32), max_ratio=1000.0, rounds=2, batch_size=3)
    with train_step.trainers(setting) as built:
        assert set(built) == {"vanilla", "multi-task"}
        for trainer, batch in built.values():
            outputs = trainer.network(batch["data"])
            assert [output.shape[2:] for output in outputs] == [target.shape[2:] for target in batch["target"]]
            assert 0.02 < batch["target"][0].float().mean() < 0.5
            assert len(batch["keys"]) == 3
