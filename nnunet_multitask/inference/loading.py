"""Loading a model folder as nnU-Net does, after its checkpoints were read safely and compared with each other."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_multitask import environment
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.checkpoints import load_checkpoint_file, safe_loading
from nnunet_multitask.inference.consistency import check_same_model, check_weights, loading_weights
from nnunet_multitask.inference.model import check_model_folder, finished_folds, sha256_of
from nnunet_multitask.inference.safe_plans import check_layers


def load_model_folder(
    predictor: nnUNetPredictor,
    folder: Path,
    use_folds: Sequence[int | str] | int | str | None = None,
    checkpoint_name: str = "checkpoint_final.pth",
    *,
    with_heads: bool = True,
    trust_checkpoint: bool = False,
) -> dict[str, Any]:
    """Load a model into nnU-Net's predictor, without unpickling anything that could run.

    Args:
        predictor: gets network, plans and weights by the method of ``nnUNetPredictor``.
        folder: with ``plans.json``, ``dataset.json`` and the folds.
        use_folds: the folds to average over; by default all that are finished.
        checkpoint_name: file in each fold's folder.
        with_heads: refuse a stock model.
        trust_checkpoint: unpickle the checkpoints, whatever they ask for, and warn.

    Returns:
        What the model is: ``trainer``, ``plans``, ``configuration``, ``folds``, and ``checkpoint_sha256`` by fold.

    Raises:
        InputError: no trained model there, one without heads, a checkpoint that is damaged or would run something,
            plans that would, folds of different models, a trainer that is not found, weights of another network.
    """
    if use_folds is None:
        use_folds = finished_folds(folder, checkpoint_name)
    elif isinstance(use_folds, (int, str)):
        use_folds = [use_folds]
    check_model_folder(folder, use_folds, checkpoint_name, with_heads=with_heads)
    files = {str(fold): folder / f"fold_{fold}" / checkpoint_name for fold in use_folds}
    environment.activate()
    with safe_loading(trust_checkpoint=trust_checkpoint):
        checkpoints = {fold: load_checkpoint_file(file) for fold, file in files.items()}
        check_same_model(folder, checkpoints, files)
        plans_file = folder / "plans.json"
        _check_trainer(next(iter(checkpoints.values()))["trainer_name"], next(iter(files.values())))
        check_layers(read_json(plans_file), next(iter(checkpoints.values()))["init_args"]["configuration"], plans_file)
        with loading_weights(next(iter(files.values()))):  # nnU-Net loads those of the first fold
            nnUNetPredictor.initialize_from_trained_model_folder(predictor, str(folder), use_folds, checkpoint_name)
    network: Any = predictor.network
    for fold, checkpoint in checkpoints.items():  # those of the others would fail in mid-run
        check_weights(checkpoint["network_weights"], getattr(network, "_orig_mod", network), files[fold])
    return {
        "trainer": predictor.trainer_name,
        "plans": predictor.plans_manager.plans_name,
        # the folder's name is trainer__plans__configuration, but a folder may have been renamed
        "configuration": next(iter(checkpoints.values()))["init_args"]["configuration"],
        "folds": list(use_folds),
        "checkpoint_sha256": {fold: sha256_of(file) for fold, file in files.items()},
    }


def _check_trainer(name: str, where: Path) -> None:
    """Refuse a checkpoint whose trainer nnU-Net cannot find: that builds the network.

    Raises:
        InputError: it is neither nnU-Net's nor in a folder of ``nnUNet_extTrainer``.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net tells where it looks, and again when it loads
            recursive_find_trainer_class_by_name(name)
    except RuntimeError as error:
        fault = f"expected its trainer {name} in nnU-Net or in a folder of {environment.VARIABLE}, found none"
        remedy = f"name the folder of its file in {environment.VARIABLE}"
        raise InputError("unknown-trainer", where, fault, remedy) from error


def check_images_alone(predictor: nnUNetPredictor, folder: Path) -> None:
    """Refuse a network that sees more than the preprocessed image.

    Args:
        predictor: with the model.
        folder: of the model, for the error.

    Raises:
        InputError: the second stage of a cascade, which sees the masks of the first.
    """
    previous = predictor.configuration_manager.previous_stage_name
    if previous is not None:
        fault = f"expected a network that sees images alone, got one that sees masks of {previous}"
        raise InputError("cascade", folder, fault, "name another configuration with -c")
