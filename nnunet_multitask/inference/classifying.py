"""nnU-Net's predictor, with the classification of the very same forward passes."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch.nn.parallel import DistributedDataParallel

from nnunet_multitask.config import PLANS_KEY, config_from_plans
from nnunet_multitask.evaluation.calibration import TargetCalibration
from nnunet_multitask.inference.aggregation import Aggregation, TileWeights
from nnunet_multitask.inference.cases import CasePrediction, predict_case
from nnunet_multitask.inference.collecting import CollectingNetwork, probabilities_of
from nnunet_multitask.inference.model import aggregations_of_plans, targets_of_plans
from nnunet_multitask.inference.reporting import class_probabilities
from nnunet_multitask.inference.tiles import CaseTiles, FoldTiles, tile_boxes, tile_importance
from nnunet_multitask.labels import Target
from nnunet_multitask.networks.multitask_unet import foreground_probability

logger = logging.getLogger(__name__)


class ClassifyingPredictor(nnUNetPredictor):
    """Predicts the masks of volumes as nnU-Net does, and keeps what the network says of their classes."""

    network: Any
    cases: dict[str, CasePrediction]
    targets: dict[str, Target]
    model: dict[str, Any]
    aggregations: dict[str, str]
    fitted: Mapping[str, Aggregation]  # by target, where its aggregation is a fitted one
    _waiting: list[str]  # the ids of the cases that come next
    _folds: list[FoldTiles]
    _tiles: list[tuple[dict[str, np.ndarray], float]]
    _last: CasePrediction

    def manual_initialization(
        self,
        network: torch.nn.Module,
        plans_manager: Any,
        configuration_manager: Any,
        parameters: list[dict[str, Any]] | None,
        dataset_json: dict[str, Any],
        trainer_name: str,
        inference_allowed_mirroring_axes: tuple[int, ...] | None,
    ) -> None:
        """Take a network that is in memory, as nnU-Net's trainer does for its validation; ``model`` says what it is.

        A distributed network is used without its wrapper, which would synchronise the branch's buffers at every
        forward pass: processes whose cases have different numbers of tiles would wait for each other for ever.
        """
        super().manual_initialization(
            network.module if isinstance(network, DistributedDataParallel) else network,
            plans_manager,
            configuration_manager,
            parameters,
            dataset_json,
            trainer_name,
            inference_allowed_mirroring_axes,
        )
        self.read_heads(f"plans {plans_manager.plans_name}")
        self.model = {"trainer": trainer_name, "plans": plans_manager.plans_name}

    def read_heads(self, where: str | Path) -> None:
        """Take targets and aggregation from the plans, and forget the cases of another model."""
        plans = self.plans_manager.plans
        self.targets = targets_of_plans(plans, where)
        self.has_regions = bool(plans[PLANS_KEY].get("has_regions", False))
        self.aggregations = aggregations_of_plans(plans, self.targets)
        self.top_tiles = config_from_plans(plans).top_tiles
        self.fitted = {}
        self.cases, self._waiting = {}, []

    def predict_logits_from_preprocessed_data(self, data: torch.Tensor) -> torch.Tensor:
        """Return the segmentation logits of a volume, (K, *spatial), and keep its classification.

        Args:
            data: preprocessed volume, (C, *spatial).
        """
        self._folds = []
        start = time.perf_counter()
        logits = super().predict_logits_from_preprocessed_data(data)
        prediction = self.case_prediction(time.perf_counter() - start)
        case_id = self._waiting.pop(0) if self._waiting else f"case_{len(self.cases):04d}"
        self._last = prediction
        self.keep(case_id, prediction)
        for name, outputs in prediction.probabilities.items():
            found = class_probabilities(self.targets[name], outputs, self.calibration_of(name))
            logger.info("%s %s: %s", case_id, name, _shown(self.targets[name], found))
        return logits

    def calibration_of(self, name: str) -> TargetCalibration | None:
        """Return the calibration by which a target is reported; here there is none."""
        return None

    def predict_volume(self, case_id: str, data: torch.Tensor) -> tuple[CasePrediction, torch.Tensor]:
        """Return what the network says of a preprocessed volume (C, *spatial), with its tiles, and its logits."""
        self._waiting = [case_id]
        logits = self.predict_logits_from_preprocessed_data(data).cpu()
        return self._last, logits

    def keep(self, case_id: str, prediction: CasePrediction) -> None:
        """Take what the network says of a case; its mask is not written yet."""
        self.cases[case_id] = replace(prediction, tiles=None)

    def predict_sliding_window_return_logits(self, input_image: torch.Tensor) -> torch.Tensor:
        """Return the segmentation logits of a volume (C, *spatial) from one network, (K, *spatial)."""
        self._shape = tuple(input_image.shape[1:])  # before nnU-Net pads it to the size of a tile
        logits: torch.Tensor = super().predict_sliding_window_return_logits(input_image)
        return logits

    def _internal_predict_sliding_window_return_logits(
        self, data: torch.Tensor, slicers: Any, do_on_device: bool = True
    ) -> torch.Tensor:
        # nnU-Net comes here once for each fold, and again when a volume did not fit into memory
        self._tiles = []
        logits = super()._internal_predict_sliding_window_return_logits(data, slicers, do_on_device)
        padded = tuple(data.shape[1:])
        weights = TileWeights(
            np.array([voxels for _, voxels in self._tiles]),
            tile_importance(slicers, self._shape, padded),
            self.top_tiles,
            self.fitted,
        )
        probabilities = {name: np.stack([tile[name] for tile, _ in self._tiles]) for name in self.targets}
        self._folds.append(FoldTiles(probabilities, weights))
        self._boxes = tile_boxes(slicers, self._shape, padded)
        return logits

    def _internal_maybe_mirror_and_predict(self, x: torch.Tensor) -> torch.Tensor:
        network = self.network
        self.network = collecting = CollectingNetwork(network)
        try:
            segmentation = super()._internal_maybe_mirror_and_predict(x)
        finally:
            self.network = network
        mirrors = [probabilities_of(logits, self.targets) for logits in collecting.logits]
        # one tile at a time: (mirrors, outputs)
        tile = {name: torch.stack([m[name][0] for m in mirrors]).cpu().numpy() for name in self.targets}
        self._tiles.append((tile, float(foreground_probability(segmentation, self.has_regions).sum())))
        return segmentation

    def case_prediction(self, seconds: float) -> CasePrediction:
        """Return what the folds said of the volume that was predicted last, and make room for the next."""
        tiles = CaseTiles(self._boxes, self._shape, self._folds)
        self._folds = []
        return predict_case(tiles, self.targets, self.aggregations, seconds)


def _shown(target: Target, probabilities: Mapping[str, float]) -> str:
    classes = target.classes[1:] if target.type == "binary" else target.classes
    return ", ".join(f"{name} {probabilities[name]:.3f}" for name in classes)
