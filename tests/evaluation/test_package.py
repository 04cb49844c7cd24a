"""What the package offers by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nnunet_multitask import evaluation


def test_public_names_are_there() -> None:
    assert dir(evaluation) == sorted(evaluation.__all__)
    assert all(callable(getattr(evaluation, name)) for name in evaluation.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = evaluation.nonsense


def test_scoring_loads_neither_torch_nor_nnunet() -> None:
    code = (
        "import sys; from nnunet_multitask.evaluation import segmentation_metrics, evaluate_folders, write_report;"
        "print(sorted({'torch', 'nnunetv2', 'medpy'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
