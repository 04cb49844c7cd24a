"""A model folder whose network tells a planted corner, and options for the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_models import make_images, make_model


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("toy") / "nnUNetTrainerMultiTask__toy__3d_fullres")


@pytest.fixture(scope="session")
def toy_images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = make_images(tmp_path_factory.mktemp("toy") / "images", tuple("abcde"))
    return {name: [folder / f"{name}_0000.nii.gz"] for name in "abcde"}


@pytest.fixture
def one_case(toy_images: dict[str, list[Path]]) -> dict[str, list[Path]]:
    return {"a": toy_images["a"]}


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # it would last beyond the test
