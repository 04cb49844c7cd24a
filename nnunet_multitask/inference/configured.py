"""nnU-Net's predictor with a trained model, and what is asked for: how classes are predicted and reported."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.calibration import CALIBRATION_NAME, TargetCalibration, read_calibration
from nnunet_multitask.evaluation.gate import parse_gate
from nnunet_multitask.inference.classifying import ClassifyingPredictor
from nnunet_multitask.inference.fitted import check_calibration, load_fitted
from nnunet_multitask.inference.loading import load_model_folder
from nnunet_multitask.inference.model import aggregations_of_plans, sha256_of
from nnunet_multitask.inference.options import choose_aggregations, choose_operating_points
from nnunet_multitask.inference.reporting import Reporting, check_reporting
from nnunet_multitask.inference.worklist import Choice, default_worklist, parse_worklist

logger = logging.getLogger(__name__)


class ConfiguredPredictor(ClassifyingPredictor):
    """Loads a model, and knows how its predictions are reported.

    Attributes:
        folder: of the model; None for a network in memory.
        reporting: how predictions are reported.
        worklist: what sorts the worklist; None: nothing does.
        settings: what the records say of the options.
    """

    settings: dict[str, Any]
    reporting: Reporting
    worklist: Choice | None
    folder: Path | None = None
    _refused: InputError | InputErrors | None = None

    def initialize_from_trained_model_folder(
        self,
        model_training_output_dir: str | Path,
        use_folds: Sequence[int | str] | int | str | None = None,
        checkpoint_name: str = "checkpoint_final.pth",
        *,
        trust_checkpoint: bool = False,
    ) -> None:
        """Load a model, without unpickling anything that could run.

        Args:
            model_training_output_dir: folder with ``plans.json`` and the folds.
            use_folds: the folds to average over; by default all that are finished.
            checkpoint_name: file in each fold's folder.
            trust_checkpoint: unpickle the checkpoints, whatever they ask for, and warn.

        Raises:
            InputError: no trained model there, one without heads, a checkpoint that is damaged or would run something,
                or folds of different models.
        """
        folder = Path(model_training_output_dir)
        self.model = load_model_folder(self, folder, use_folds, checkpoint_name, trust_checkpoint=trust_checkpoint)
        self.folder = folder
        self.read_heads(folder / "plans.json")
        self._take_defaults()

    def manual_initialization(self, *args: Any, **kwargs: Any) -> None:
        """Take a network that is in memory; as `ClassifyingPredictor`."""
        super().manual_initialization(*args, **kwargs)
        self.folder = None
        self._take_defaults()

    def configure(
        self,
        *,
        aggregation: Sequence[str] = (),
        calibrate: bool = True,
        operating_points: Sequence[str] = (),
        gate: str | None = None,
        worklist: str | None = None,
        save_slices: bool = False,
        save_tiles: bool = False,
    ) -> None:
        """Say how classes are predicted and reported; without this call, as the defaults here do.

        Args:
            aggregation: how tiles become a case: ``NAME`` for all targets, or ``TARGET=NAME``; ``gated_attention``
                takes the model folder's ``aggregation.json``.
            calibrate: apply the model folder's ``calibration.json`` where there is one.
            operating_points: rules of the calibration: ``RULE`` for every target that has it, or ``TARGET=RULE``.
            gate: ``TARGET``, or ``TARGET=CLASS`` with the negative class of a multiclass target: its masks are cleared.
            worklist: ``TARGET``, or ``TARGET:CLASS``, that sorts ``worklist.csv``.
            save_slices: report the probabilities of each slice, too.
            save_tiles: write a file with the tiles of each case.

        Raises:
            InputError: an unknown name, a calibration or an attention that was fitted for another model, what needs
                one without it.
        """
        trained = aggregations_of_plans(self.plans_manager.plans, self.targets)
        self.aggregations = choose_aggregations(aggregation, self.targets, trained)
        fitted = load_fitted(self.folder, self.aggregations, self.targets, self.model)
        path = None if self.folder is None else self.folder / CALIBRATION_NAME
        calibration = read_calibration(path) if calibrate and path is not None and path.is_file() else None
        if calibration is not None:
            check_calibration(calibration, self.model, fitted)
        reporting = Reporting(
            self.targets,
            calibration,
            choose_operating_points(operating_points, self.targets, calibration),
            None if gate is None else parse_gate(gate),
            self.aggregations,
            save_slices,
            save_tiles,
            getattr(self.network, "segments", True),
        )
        check_reporting(reporting, trained if calibration is None else {**trained, **calibration.aggregation})
        if not reporting.segments:
            logger.info("the model only classifies: its masks are empty, and their volumes are not written")
        self.worklist = default_worklist(self.targets) if worklist is None else parse_worklist(worklist, self.targets)
        self.reporting, self.fitted, self._refused = reporting, fitted.by_target, None
        self.settings = {
            "aggregation": dict(self.aggregations),
            "aggregation_sha256": fitted.sha256,
            "step_size": float(self.tile_step_size),
            "mirroring": bool(self.use_mirroring and self.allowed_mirroring_axes),
            "calibration_sha256": None if calibration is None else sha256_of(calibration.path),
            "operating_points": dict(reporting.operating_points),
            "gate": gate,
            "slices": save_slices,
            "tiles": save_tiles,
        }

    def calibration_of(self, name: str) -> TargetCalibration | None:
        """Return the calibration by which a target is reported."""
        return self.reporting.calibration_of(name)

    def _take_defaults(self) -> None:
        """Configure as nobody said otherwise; what that refuses is told where a prediction begins without more words.

        A calibration that is stale must not keep anybody from saying that it shall not be used.
        """
        try:
            self.configure()
        except (InputError, InputErrors) as error:
            self.configure(calibrate=False)
            self._refused = error

    def check_configured(self) -> None:
        """Raise what the defaults refused, unless something else has been asked for since."""
        if self._refused is not None:
            raise self._refused
