"""A model of random weights, and images for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from toy_models import make_images, make_model

from nnunet_multitask.inference.predictor import MultiTaskPredictor


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("toy") / "nnUNetTrainerMultiTask__toy__3d_fullres")


@pytest.fixture(scope="session")
def toy_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("toy") / "images")


@pytest.fixture
def predictor_of() -> Callable[..., MultiTaskPredictor]:
    """Return a function that loads a model folder on the CPU."""

    def load(folder: Path, **options: object) -> MultiTaskPredictor:
        predictor = MultiTaskPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(folder)
        predictor.configure(**options)  # type: ignore[arg-type]
        return predictor

    return load
