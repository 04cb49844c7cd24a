"""What the networks of a cross-validation say of the tiles of the cases that they were not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.inference.aggregation import Floats, TileWeights
from nnunet_multitask.inference.loading import check_images_alone
from nnunet_multitask.inference.predictor import MultiTaskPredictor
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.splits import check_fold
from nnunet_multitask.workflows.validation_cases import Split, check_trained_with, open_cases


@dataclass(frozen=True)
class SeenCase:
    """What the network of its fold, which was not trained on it, said of a case.

    Attributes:
        fold: the fold.
        tiles: by target the probabilities of each tile, mean over mirrorings, (T, outputs).
        weights: of the tiles.
    """

    fold: int
    tiles: Mapping[str, Floats]
    weights: TileWeights


def see_cases(
    folder: Path,
    splits: Mapping[int, Split],
    sidecar: LabelSidecar,
    preprocessed: Path,
    *,
    checkpoint_name: str,
    device: torch.device,
    step_size: float = 0.5,
    use_mirroring: bool = True,
    trust_checkpoint: bool = False,
) -> tuple[dict[str, SeenCase], dict[str, Any]]:
    """Pass the labelled validation cases of each fold through the fold's network once.

    Args:
        folder: of the trained model.
        splits: by fold its cases under "train" and "val".
        sidecar: labels and patients.
        preprocessed: ``nnUNet_preprocessed/DatasetXXX_Name``.
        checkpoint_name: file in each fold's folder.
        device: where the network runs.
        step_size: step between tiles, in tiles.
        use_mirroring: as nnU-Net's predictor.
        trust_checkpoint: unpickle the checkpoints, whatever they ask for.

    Returns:
        What was seen by case, and what the model is, with the checkpoint of each fold.

    Raises:
        InputError: a patient on both sides of a fold, folds other than those trained with, missing preprocessed
            cases, the second stage of a cascade, what `load_model_folder` refuses of any fold.
    """
    for fold, split in splits.items():  # before hours of work
        check_fold(sidecar, {part: list(split[part]) for part in ("train", "val")}, preprocessed / "splits_final.json")
        check_trained_with(folder / f"fold_{fold}" / "validation", split["val"])
    load = partial(
        _load,
        folder,
        checkpoint_name=checkpoint_name,
        device=device,
        step_size=step_size,
        use_mirroring=use_mirroring,
        trust_checkpoint=trust_checkpoint,
    )
    model = load(list(splits)).model  # all that is wrong with a fold, and folds that do not belong together
    seen: dict[str, SeenCase] = {}
    for fold, split in splits.items():
        predictor = load([fold])
        settings = predictor.configuration_manager
        cases = [case_id for case_id in split["val"] if _is_labelled(sidecar, case_id)]
        see = partial(_see, predictor, open_cases(preprocessed / settings.data_identifier, cases), fold)
        found = map_in_order(see, cases, num_workers=1, description=f"fold {fold}, tiles")
        seen |= dict(zip(cases, found, strict=True))
    return seen, {**model, "checkpoint": checkpoint_name}


def _load(
    folder: Path,
    folds: list[int],
    *,
    checkpoint_name: str,
    device: torch.device,
    step_size: float,
    use_mirroring: bool,
    trust_checkpoint: bool,
) -> MultiTaskPredictor:
    predictor = MultiTaskPredictor(
        tile_step_size=step_size,
        use_mirroring=use_mirroring,
        perform_everything_on_device=device.type == "cuda",
        device=device,
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(folder, folds, checkpoint_name, trust_checkpoint=trust_checkpoint)
    check_images_alone(predictor, folder)
    return predictor


def _see(predictor: MultiTaskPredictor, dataset: Any, fold: int, case_id: str) -> SeenCase:
    data, _, _, _ = dataset.load_case(case_id)
    prediction, _ = predictor.predict_volume(case_id, torch.from_numpy(np.asarray(data[:])))
    assert prediction.tiles is not None
    (tiles,) = prediction.tiles.folds
    return SeenCase(fold, {name: p.mean(axis=1) for name, p in tiles.probabilities.items()}, tiles.weights)


def _is_labelled(sidecar: LabelSidecar, case_id: str) -> bool:
    return case_id in sidecar.cases and any(name in sidecar.targets for name in sidecar.cases[case_id].labels)
