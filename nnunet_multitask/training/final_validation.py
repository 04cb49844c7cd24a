"""The class of every validation case, from the forward passes in which nnU-Net's validation predicts its masks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from nnunetv2.inference import predict_from_raw_data

from nnunet_multitask.config import differences
from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.inference.classifying import ClassifyingPredictor
from nnunet_multitask.inference.measures import without_labels
from nnunet_multitask.inference.model import aggregations_of_plans, sha256_of
from nnunet_multitask.inference.records import CLASSIFICATION_JSON
from nnunet_multitask.inference.writers import write_classification
from nnunet_multitask.labels import Case, LabelSidecar
from nnunet_multitask.training.checkpoints import Trainer
from nnunet_multitask.training.curves import case_scores
from nnunet_multitask.training.stepping import bare

METHOD = "perform_actual_validation"
NOT_SHAPING = ("save_every", "case_validation_every", "case_validation_cases", "seed")
PREDICTOR = "nnUNetPredictor"  # the name by which nnU-Net's method looks it up

Predictions = dict[str, CasePrediction]


class WholeCasePredictor(ClassifyingPredictor):
    """Stands in for nnU-Net's predictor where a trainer predicts whole cases, and tells what each of them is.

    Args:
        tell: called with the classification of each volume, after the volume is done.
        args, kwargs: those of nnU-Net's predictor.
    """

    def __init__(self, *args: Any, tell: Callable[[CasePrediction], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tell = tell

    def predict_sliding_window_return_logits(self, input_image: torch.Tensor) -> torch.Tensor:
        """Return the segmentation logits of a volume (C, *spatial), (K, *spatial), as nnU-Net does."""
        self._folds = []
        start = time.perf_counter()
        logits = super().predict_sliding_window_return_logits(input_image)
        self._tell(self.case_prediction(time.perf_counter() - start))
        return logits


class ClassifiedValidationMixin(Trainer):
    """Lets a multi-task trainer's validation at the end write ``validation/classification.json`` beside the masks."""

    checkpoint_file: Path | None = None  # that holds the network's weights, where one does

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load a checkpoint and note its file."""
        super().load_checkpoint(filename_or_checkpoint)
        self.checkpoint_file = Path(filename_or_checkpoint) if isinstance(filename_or_checkpoint, str) else None

    def on_train_end(self) -> None:
        """End the training as nnU-Net does, and note the file that it wrote."""
        super().on_train_end()
        final = Path(self.output_folder) / "checkpoint_final.pth"
        self.checkpoint_file = None if self.disable_checkpointing else final

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Validate as nnU-Net does; the same forward passes classify the cases."""
        with classifying(self) as predictions:
            super().perform_actual_validation(save_probabilities)
        write_validation(self, predictions, self.checkpoint_file)


@contextmanager
def classifying(trainer: Any) -> Iterator[Predictions]:
    """Let a trainer's validation classify its cases while the block runs, and yield what it finds, by case.

    nnU-Net's method makes its predictor from a global of its module; there is no other place to put one in. The case
    is the one that the dataset was last asked for. An earlier ``classification.json`` is removed first, since the
    masks beside it are about to be replaced. Where the trainer's validation uses another predictor, the log says so
    and nothing is found.

    Args:
        trainer: an initialised multi-task trainer.
    """
    if trainer.local_rank == 0:
        for path in _validation_folder(trainer).glob(f"{Path(CLASSIFICATION_JSON).stem}.*"):
            path.unlink()
    predictions: Predictions = {}
    loaded: list[str] = []

    def keep(prediction: CasePrediction) -> None:
        predictions[loaded[-1]] = replace(prediction, tiles=None)

    modules = predictor_modules(trainer)
    if not modules:
        trainer.print_to_log_file(f"WARN validation without {PREDICTOR}: no {CLASSIFICATION_JSON} is written")
    dataset_class = trainer.dataset_class
    trainer.dataset_class = _telling(dataset_class, loaded.append)
    for names in modules:
        names[PREDICTOR] = partial(WholeCasePredictor, tell=keep)
    try:
        yield predictions
    finally:
        trainer.dataset_class = dataset_class
        for names in modules:
            names[PREDICTOR] = predict_from_raw_data.nnUNetPredictor


def predictor_modules(trainer: Any) -> list[dict[str, Any]]:
    """Return the globals of every module whose validation method the trainer has and that knows nnU-Net's predictor."""
    methods = [vars(kind)[METHOD] for kind in type(trainer).__mro__ if METHOD in vars(kind)]
    modules = {id(method.__globals__): method.__globals__ for method in methods}
    return [names for names in modules.values() if names.get(PREDICTOR) is predict_from_raw_data.nnUNetPredictor]


def write_validation(trainer: Any, predictions: Predictions, checkpoint: Path | None) -> None:
    """Write what ``classifying`` found beside the masks, as part of an out-of-fold table: with fold and true labels.

    The log gets AUC and balanced accuracy of the cases.

    Args:
        trainer: the trainer; of a distributed training every process brings its cases, and the first one writes.
        predictions: of this process, by case.
        checkpoint: the file with the weights that predicted, None where there is none.
    """
    found = dict(trainer.gathered(list(predictions.items())))
    if not found or trainer.local_rank != 0:
        return
    fold = trainer.fold
    is_there = checkpoint is not None and checkpoint.is_file()
    model = {
        "trainer": type(trainer).__name__,
        "plans": trainer.plans_manager.plans_name,
        "configuration": trainer.configuration_name,
        "folds": [fold],
        "settings": settings_of(trainer),
        **({"checkpoint": checkpoint.name} if checkpoint is not None and is_there else {}),
        "checkpoint_sha256": {str(fold): sha256_of(checkpoint)} if checkpoint is not None and is_there else {},
    }
    known = {case_id: {"fold": fold, **known_of(trainer.sidecar, case_id)} for case_id in found}
    segments = getattr(bare(trainer.network), "segments", True)
    write_classification(
        _validation_folder(trainer),
        CLASSIFICATION_JSON,
        model,
        trainer.targets,
        found,
        {},
        trainer.dataset_json if segments else without_labels(trainer.dataset_json),
        known,
        {"aggregation": aggregations_of_plans(trainer.plans_manager.plans, trainer.targets)},
    )
    probabilities = {case_id: prediction.probabilities for case_id, prediction in found.items()}
    scores = case_scores(trainer.targets, trainer.sidecar, probabilities)
    shown = ", ".join(f"{curve} {value:.3f}" for curve, value in scores.items())
    trainer.print_to_log_file(f"{len(found)} cases classified: {shown}", also_print_to_console=True)


def settings_of(trainer: Any) -> dict[str, Any]:
    """Return what shapes a training, by name: folds that differ in it are of different models.

    Those are the settings that differ from the default, but for those that decide when something is written or looked
    at, and the size of the network.
    """
    network = trainer.configuration_manager
    return {
        **differences(trainer.config),
        **{name: value for name, value in differences(trainer.schedule).items() if name not in NOT_SHAPING},
        "network": network.network_arch_class_name.rpartition(".")[2],
        "features": list(network.network_arch_init_kwargs.get("features_per_stage", ())),
        "patch_size": [int(size) for size in network.patch_size],
        "batch_size": int(network.batch_size),
        "spacing": [float(length) for length in network.spacing],
    }


def known_of(sidecar: LabelSidecar, case_id: str) -> dict[str, Any]:
    """Return the true labels of a case by target, and its patient where known, as ``classification.json`` has them."""
    case = sidecar.cases.get(case_id, Case())
    labels = {name: label if isinstance(label, str) else list(label) for name, label in case.labels.items()}
    return {"reference": labels, **({} if case.group is None else {"group": case.group})}


def _telling(dataset_class: Any, tell: Callable[[str], None]) -> Any:
    """Return the class of datasets with each case that is loaded told first."""

    class Telling(dataset_class):
        def load_case(self, identifier: str) -> Any:
            tell(identifier)
            return super().load_case(identifier)

    return Telling


def _validation_folder(trainer: Any) -> Path:
    return Path(trainer.output_folder) / "validation"
