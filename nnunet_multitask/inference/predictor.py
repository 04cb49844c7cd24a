"""Joint prediction: nnU-Net's predictor, with the classification of the very same forward passes."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.configuration import default_num_processes
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch.nn.parallel import DistributedDataParallel

from nnunet_multitask import environment
from nnunet_multitask.config import PLANS_KEY, config_from_plans
from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.aggregation import TileWeights
from nnunet_multitask.inference.cases import CasePrediction, predict_case
from nnunet_multitask.inference.collecting import CollectingNetwork, probabilities_of
from nnunet_multitask.inference.inputs import check_images, check_previous_stage
from nnunet_multitask.inference.model import (
    aggregations_of_plans,
    check_model_folder,
    check_same_targets,
    finished_folds,
    sha256_of,
    targets_of_plans,
)
from nnunet_multitask.inference.options import choose_aggregations
from nnunet_multitask.inference.tiles import CaseTiles, FoldTiles, tile_boxes, tile_importance
from nnunet_multitask.inference.writers import (
    CLASSIFICATION_JSON,
    read_records,
    without_labels,
    write_classification,
)
from nnunet_multitask.labels import Target
from nnunet_multitask.networks.multitask_unet import foreground_probability

logger = logging.getLogger(__name__)


class MultiTaskPredictor(nnUNetPredictor):
    """Predicts masks as nnU-Net does, and beside them writes ``classification.json`` and ``classification.csv``.

    Takes nnU-Net's own arguments. ``cases`` holds the prediction of each case after ``predict_from_files``.
    """

    network: Any
    cases: dict[str, CasePrediction]
    targets: dict[str, Target]
    model: dict[str, Any]
    aggregations: dict[str, str]
    _folds: list[FoldTiles]
    _tiles: list[tuple[dict[str, np.ndarray], float]]

    def initialize_from_trained_model_folder(
        self,
        model_training_output_dir: str | Path,
        use_folds: Sequence[int | str] | int | str | None = None,
        checkpoint_name: str = "checkpoint_final.pth",
    ) -> None:
        """Load a model.

        Args:
            model_training_output_dir: folder with ``plans.json`` and the folds.
            use_folds: the folds to average over; by default all that are finished.
            checkpoint_name: file in each fold's folder.

        Raises:
            InputError: no trained model there, one without heads, or folds with different targets.
        """
        folder = Path(model_training_output_dir)
        if use_folds is None:
            use_folds = finished_folds(folder, checkpoint_name)
        elif isinstance(use_folds, (int, str)):
            use_folds = [use_folds]
        check_model_folder(folder, use_folds, checkpoint_name)
        environment.activate()
        try:
            super().initialize_from_trained_model_folder(str(folder), use_folds, checkpoint_name)
        except RuntimeError as error:
            if "state_dict" not in str(error):
                raise
            raise InputError(
                "other-network",
                folder,
                "expected the weights of the network that plans.json describes, got those of another one",
                "predict with the version of nnunet-multitask that trained it, or train it again",
            ) from error
        self._read_heads(folder / "plans.json")
        files = {fold: folder / f"fold_{fold}" / checkpoint_name for fold in use_folds}
        if len(files) > 1:
            plans_by_fold = {str(fold): _plans_of_checkpoint(file) for fold, file in files.items()}
            check_same_targets(folder, self.targets, plans_by_fold)
        # the folder's name is trainer__plans__configuration, but a folder may have been renamed
        checkpoint_arguments = _init_args_of_checkpoint(next(iter(files.values())))
        self.model = {
            "trainer": self.trainer_name,
            "plans": self.plans_manager.plans_name,
            "configuration": checkpoint_arguments["configuration"],
            "folds": list(use_folds),
            "checkpoint_sha256": {str(fold): sha256_of(file) for fold, file in files.items()},
        }

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
        self._read_heads(f"plans {plans_manager.plans_name}")
        self.model = {"trainer": trainer_name, "plans": plans_manager.plans_name}

    def _read_heads(self, where: str | Path) -> None:
        """Take targets and aggregation from the plans, and forget the cases of another model."""
        plans = self.plans_manager.plans
        self.targets = targets_of_plans(plans, where)
        self.has_regions = bool(plans[PLANS_KEY].get("has_regions", False))
        self.aggregations = aggregations_of_plans(plans, self.targets)
        self.top_tiles = config_from_plans(plans).top_tiles
        self.cases = {}
        self._waiting: list[str] = []
        self._records: dict[str, Any] = {}

    def choose_aggregations(self, texts: Sequence[str]) -> None:
        """Let tiles become cases in other ways than those of the model: ``NAME`` for all targets, or ``TARGET=NAME``.

        Raises:
            InputError: an unknown target or aggregation.
        """
        self.aggregations = choose_aggregations(texts, self.targets, self.aggregations)

    def predict_from_files(
        self,
        list_of_lists_or_source_folder: str | list[list[str]],
        output_folder_or_list_of_truncated_output_files: str | list[str] | None,
        save_probabilities: bool = False,
        overwrite: bool = True,
        num_processes_preprocessing: int = default_num_processes,
        num_processes_segmentation_export: int = default_num_processes,
        folder_with_segs_from_prev_stage: str | None = None,
        num_parts: int = 1,
        part_id: int = 0,
    ) -> Any:
        """Predict files as nnU-Net does, then write the classification beside the masks of an output folder."""
        check_previous_stage(self.configuration_manager.previous_stage_name, folder_with_segs_from_prev_stage)
        # the same parameters by the same names, because nnU-Net looks them up in this method's signature
        result = super().predict_from_files(
            list_of_lists_or_source_folder,
            output_folder_or_list_of_truncated_output_files,
            save_probabilities,
            overwrite,
            num_processes_preprocessing,
            num_processes_segmentation_export,
            folder_with_segs_from_prev_stage,
            num_parts,
            part_id,
        )
        self._write(output_folder_or_list_of_truncated_output_files, _classification_name(part_id, num_parts))
        return result

    def predict_from_files_sequential(
        self,
        list_of_lists_or_source_folder: str | list[list[str]],
        output_folder_or_list_of_truncated_output_files: str | list[str] | None,
        save_probabilities: bool = False,
        overwrite: bool = True,
        folder_with_segs_from_prev_stage: str | None = None,
    ) -> Any:
        """Predict files in this process alone, then write the classification beside the masks of an output folder."""
        check_previous_stage(self.configuration_manager.previous_stage_name, folder_with_segs_from_prev_stage)
        if isinstance(output_folder_or_list_of_truncated_output_files, str):
            Path(output_folder_or_list_of_truncated_output_files).mkdir(parents=True, exist_ok=True)
        result = super().predict_from_files_sequential(
            list_of_lists_or_source_folder,
            output_folder_or_list_of_truncated_output_files,
            save_probabilities,
            overwrite,
            folder_with_segs_from_prev_stage,
        )
        self._write(output_folder_or_list_of_truncated_output_files, CLASSIFICATION_JSON)
        return result

    def predict_logits_from_preprocessed_data(self, data: torch.Tensor) -> torch.Tensor:
        """Return the segmentation logits of a volume, (K, *spatial), and keep its classification.

        Args:
            data: preprocessed volume, (C, *spatial).
        """
        self._folds = []
        start = time.perf_counter()
        logits = super().predict_logits_from_preprocessed_data(data)
        prediction = self._case_prediction(time.perf_counter() - start)
        case_id = self._waiting.pop(0) if self._waiting else f"case_{len(self.cases):04d}"
        self.cases[case_id] = prediction
        for name, probabilities in prediction.probabilities.items():
            logger.info("%s %s: %s", case_id, name, _shown(self.targets[name], probabilities))
        return logits

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

    def _case_prediction(self, seconds: float) -> CasePrediction:
        """Return what the folds said of the volume that was predicted last, and make room for the next."""
        tiles = CaseTiles(self._boxes, self._shape, self._folds)
        self._folds = []
        return predict_case(tiles, self.targets, self.aggregations, seconds)

    def _manage_input_and_output_lists(
        self,
        list_of_lists_or_source_folder: Any,
        output_folder_or_list_of_truncated_output_files: Any,
        folder_with_segs_from_prev_stage: str | None = None,
        overwrite: bool = True,
        part_id: int = 0,
        num_parts: int = 1,
        save_probabilities: bool = False,
    ) -> Any:
        inputs, outputs, previous = super()._manage_input_and_output_lists(
            list_of_lists_or_source_folder,
            output_folder_or_list_of_truncated_output_files,
            folder_with_segs_from_prev_stage,
            True,
            part_id,
            num_parts,
            save_probabilities,
        )
        self.cases, self._records = {}, {}
        ending = self.dataset_json["file_ending"]
        case_ids = [Path(files[0]).name[: -len(ending) - len("_0000")] for files in inputs]
        keep = list(range(len(inputs)))
        if not overwrite and outputs:
            # nnU-Net takes a case with a mask for finished; here it needs its classification too
            self._records = read_records(Path(outputs[0]).parent / _classification_name(part_id, num_parts))
            keep = [
                i
                for i in keep
                if not (case_ids[i] in self._records and _is_predicted(outputs[i], ending, save_probabilities))
            ]
            self._records = {case_ids[i]: self._records[case_ids[i]] for i in range(len(inputs)) if i not in keep}
            logger.info("%d of %d cases are finished, %d to go", len(inputs) - len(keep), len(inputs), len(keep))
        self._waiting = [case_ids[i] for i in keep]
        stage = self.configuration_manager.previous_stage_name
        check_previous_stage(stage, folder_with_segs_from_prev_stage, [previous[i] for i in keep])
        check_images({case_ids[i]: inputs[i] for i in keep}, list(self.dataset_json["channel_names"].values()))
        return (
            [inputs[i] for i in keep],
            [outputs[i] for i in keep] if outputs else outputs,
            [previous[i] for i in keep],
        )

    def _write(self, output: str | list[str] | None, name: str) -> None:
        if isinstance(output, str):
            dataset_json = self.dataset_json
            if not getattr(self.network, "segments", True):
                logger.info("the model only classifies: its masks are empty, and their volumes are not written")
                dataset_json = without_labels(dataset_json)
            write_classification(Path(output), name, self.model, self.targets, self.cases, self._records, dataset_json)


def _classification_name(part_id: int, num_parts: int) -> str:
    """Return the file name of the classification; parts that run at the same time write one each."""
    if num_parts == 1:
        return CLASSIFICATION_JSON
    return CLASSIFICATION_JSON.replace(".json", f"_part_{part_id}_of_{num_parts}.json")


def _is_predicted(output: str, ending: str, save_probabilities: bool) -> bool:
    return Path(output + ending).is_file() and (not save_probabilities or Path(output + ".npz").is_file())


def _init_args_of_checkpoint(path: Path) -> Mapping[str, Any]:
    checkpoint = torch.load(path, map_location="cpu", weights_only=False, mmap=True)
    arguments: Mapping[str, Any] = checkpoint["init_args"]
    return arguments


def _plans_of_checkpoint(path: Path) -> Mapping[str, Any]:
    plans: Mapping[str, Any] = _init_args_of_checkpoint(path)["plans"]
    return plans


def _shown(target: Target, probabilities: np.ndarray) -> str:
    classes = target.classes[1:] if target.type == "binary" else target.classes
    return ", ".join(f"{name} {value:.3f}" for name, value in zip(classes, probabilities, strict=True))
