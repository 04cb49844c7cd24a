"""Joint prediction: nnU-Net's predictor, with the classification of the very same forward passes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from nnunetv2.configuration import default_num_processes

from nnunet_multitask.datasets import list_image_channels
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.calibration import CALIBRATION_NAME, read_calibration
from nnunet_multitask.evaluation.gate import parse_gate
from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.inference.classifying import ClassifyingPredictor
from nnunet_multitask.inference.exporting import CaseReport, exporting
from nnunet_multitask.inference.fitted import check_calibration, load_fitted
from nnunet_multitask.inference.in_process import CaseResult, Image, predict_images
from nnunet_multitask.inference.inputs import check_images, check_previous_stage
from nnunet_multitask.inference.loading import load_model_folder
from nnunet_multitask.inference.model import aggregations_of_plans, sha256_of
from nnunet_multitask.inference.options import choose_aggregations, choose_operating_points
from nnunet_multitask.inference.records import check_same_run
from nnunet_multitask.inference.reporting import Reporting, check_reporting
from nnunet_multitask.inference.run import Run, classification_name
from nnunet_multitask.inference.workers import attended
from nnunet_multitask.inference.worklist import Choice, default_worklist, parse_worklist

logger = logging.getLogger(__name__)


class MultiTaskPredictor(ClassifyingPredictor):
    """Predicts masks as nnU-Net does, and beside them writes ``classification.json`` and ``classification.csv``.

    Takes nnU-Net's own arguments. ``cases`` holds the prediction of each case after ``predict_from_files``. ``dicom``
    may say, by case, what is to be recorded of the DICOM series that its image was made of.
    """

    settings: dict[str, Any]
    reporting: Reporting
    worklist: Choice | None
    folder: Path | None = None
    dicom: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    _run: Run | None = None
    _chosen: tuple[list[Any], list[Any] | None, list[Any]] | None = None
    _refused: InputError | InputErrors | None = None
    _hand_over: Callable[[CaseReport], None]
    _failures: Sequence[BaseException] = ()

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

    def _take_defaults(self) -> None:
        """Configure as nobody said otherwise; what that refuses is told where a prediction begins without more words.

        A calibration that is stale must not keep anybody from saying that it shall not be used.
        """
        try:
            self.configure()
        except (InputError, InputErrors) as error:
            self.configure(calibrate=False)
            self._refused = error

    def _check_configured(self) -> None:
        if self._refused is not None:
            raise self._refused

    def predict_images(self, images: Mapping[str, Image], output: str | Path | None = None) -> Iterator[CaseResult]:
        """Predict images of files or arrays in this process, return each result and write it; see `in_process`."""
        self._check_configured()
        return predict_images(self, images, output)

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
        """Predict files as nnU-Net does, and write records and classification beside the masks.

        Returns:
            What nnU-Net returns; for cases that are written, their records.
        """
        # the same parameters by the same names, because nnU-Net looks them up in this method's signature
        check_previous_stage(self.configuration_manager.previous_stage_name, folder_with_segs_from_prev_stage)
        with self._running(
            Run(classification_name(part_id, num_parts)), output_folder_or_list_of_truncated_output_files, overwrite
        ):
            self._chosen = self._choose_cases(
                list_of_lists_or_source_folder,
                output_folder_or_list_of_truncated_output_files,
                folder_with_segs_from_prev_stage,
                overwrite,
                part_id,
                num_parts,
                save_probabilities,
            )
            return super().predict_from_files(
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

    def predict_from_files_sequential(
        self,
        list_of_lists_or_source_folder: str | list[list[str]],
        output_folder_or_list_of_truncated_output_files: str | list[str] | None,
        save_probabilities: bool = False,
        overwrite: bool = True,
        folder_with_segs_from_prev_stage: str | None = None,
    ) -> Any:
        """Predict files in this process alone; else as ``predict_from_files``."""
        check_previous_stage(self.configuration_manager.previous_stage_name, folder_with_segs_from_prev_stage)
        with self._running(Run(), output_folder_or_list_of_truncated_output_files, overwrite):
            self._chosen = self._choose_cases(
                list_of_lists_or_source_folder,
                output_folder_or_list_of_truncated_output_files,
                folder_with_segs_from_prev_stage,
                overwrite,
                0,
                1,
                save_probabilities,
            )
            if isinstance(output_folder_or_list_of_truncated_output_files, str):
                Path(output_folder_or_list_of_truncated_output_files).mkdir(parents=True, exist_ok=True)
            return super().predict_from_files_sequential(
                list_of_lists_or_source_folder,
                output_folder_or_list_of_truncated_output_files,
                save_probabilities,
                overwrite,
                folder_with_segs_from_prev_stage,
            )

    def predict_from_data_iterator(
        self,
        data_iterator: Any,
        save_probabilities: bool = False,
        num_processes_segmentation_export: int = default_num_processes,
    ) -> Any:
        """Predict preprocessed volumes.

        Args:
            data_iterator: of nnU-Net's items with ``data``, ``data_properties`` and ``ofile``, and if you like a
                ``case_id``. A volume whose ``ofile`` is None is returned instead of written, and known in ``cases``
                by its ``case_id``.
            save_probabilities, num_processes_segmentation_export: nnU-Net's.

        Returns:
            For each volume its record where it was written, else what nnU-Net returns.
        """
        with nullcontext() if self._run is not None else self._running(Run(), None, True):
            result = super().predict_from_data_iterator(
                self._telling(data_iterator), save_probabilities, num_processes_segmentation_export
            )
        if isinstance(data_iterator, MultiThreadedAugmenter):
            data_iterator._finish()
        return result

    def keep(self, case_id: str, prediction: CasePrediction) -> None:
        """Take what the network says of a case, and let it be reported where the mask is written."""
        super().keep(case_id, prediction)
        if self._run is not None:
            self._hand_over(CaseReport(prediction, self.reporting, self.model, self.settings, self.dicom.get(case_id)))

    def _manage_input_and_output_lists(self, *args: Any, **kwargs: Any) -> Any:
        """Return what was chosen before nnU-Net wrote its files into the output."""
        return self._choose_cases(*args, **kwargs) if self._chosen is None else self._chosen

    def _choose_cases(
        self,
        list_of_lists_or_source_folder: Any,
        output_folder_or_list_of_truncated_output_files: Any,
        folder_with_segs_from_prev_stage: str | None = None,
        overwrite: bool = True,
        part_id: int = 0,
        num_parts: int = 1,
        save_probabilities: bool = False,
    ) -> tuple[list[Any], list[Any] | None, list[Any]]:
        """Return files, outputs and previous masks of the cases to predict, none of which is refused."""
        ending = self.dataset_json["file_ending"]
        source = list_of_lists_or_source_folder
        if isinstance(source, str):  # nnU-Net would fork processes for it, of a process that may have threads by now
            source = [list(map(str, files)) for _, files in sorted(list_image_channels(source, ending).items())]
        inputs, outputs, previous = super()._manage_input_and_output_lists(
            source,
            output_folder_or_list_of_truncated_output_files,
            folder_with_segs_from_prev_stage,
            True,
            part_id,
            num_parts,
            save_probabilities,
        )
        self.cases = {}
        case_ids = [Path(files[0]).name[: -len(ending) - len("_0000")] for files in inputs]
        keep = list(range(len(inputs)))
        if outputs and self._run is not None:
            case_ids = [Path(output).name for output in outputs]
            paths = [Path(output) for output in outputs]
            if not overwrite:  # nnU-Net takes a case with a file for finished; here it needs its record, too
                done = self._run.done(paths, ending, save_probabilities, self.model, self.settings)
                keep = [i for i in keep if i not in done]
                logger.info("%d of %d cases are finished, %d to go", len(inputs) - len(keep), len(inputs), len(keep))
        stage = self.configuration_manager.previous_stage_name
        check_previous_stage(stage, folder_with_segs_from_prev_stage, [previous[i] for i in keep])
        check_images({case_ids[i]: inputs[i] for i in keep}, list(self.dataset_json["channel_names"].values()))
        if outputs and self._run is not None:
            self._run.begin([Path(outputs[i]) for i in keep], overwrite)
        self._waiting = [case_ids[i] for i in keep]
        return (
            [inputs[i] for i in keep],
            [outputs[i] for i in keep] if outputs else outputs,
            [previous[i] for i in keep],
        )

    def _telling(self, data_iterator: Any) -> Any:
        """Yield the items of an iterator, and know the case that is being predicted."""
        for item in data_iterator:
            if self._failures:  # of a case before: what cannot be written need not be predicted
                raise self._failures[0]
            if item["ofile"] is not None:
                self._waiting = [Path(item["ofile"]).name]
                if self._run is not None:
                    self._run.writes(Path(item["ofile"]))
            elif item.get("case_id") is not None:
                self._waiting = [item["case_id"]]
            yield item

    @contextmanager
    def _running(self, run: Run, output: str | list[str] | None, overwrite: bool) -> Iterator[None]:
        """Let cases be finished while the block runs, and write their classification at its end."""
        self._check_configured()
        if isinstance(output, str) and not overwrite:  # before nnU-Net writes into the folder
            check_same_run(Path(output), run.name, self.model, self.settings)
        self._run = run
        try:
            with attended() as self._failures, exporting() as self._hand_over:
                yield
            run.finish(self.model, self.settings, self.targets, self.worklist)
        finally:
            self._run = self._chosen = None
