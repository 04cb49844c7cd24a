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

from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.inference.choosing import Lists, case_lists, image_lists
from nnunet_multitask.inference.configured import ConfiguredPredictor
from nnunet_multitask.inference.exporting import CaseReport, exporting
from nnunet_multitask.inference.in_process import CaseResult, Image, predict_images
from nnunet_multitask.inference.inputs import check_images, check_previous_stage
from nnunet_multitask.inference.records import check_same_run
from nnunet_multitask.inference.run import Run, classification_name
from nnunet_multitask.inference.workers import attended

logger = logging.getLogger(__name__)


class MultiTaskPredictor(ConfiguredPredictor):
    """Predicts masks as nnU-Net does, and beside them writes ``classification.json`` and ``classification.csv``.

    Takes nnU-Net's own arguments. ``cases`` holds the prediction of each case after ``predict_from_files``. ``dicom``
    may say, by case, what is to be recorded of the DICOM series that its image was made of.
    """

    dicom: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    _run: Run | None = None
    _chosen: Lists | None = None
    _hand_over: Callable[[CaseReport], None]
    _failures: Sequence[BaseException] = ()

    def predict_images(self, images: Mapping[str, Image], output: str | Path | None = None) -> Iterator[CaseResult]:
        """Predict images of files or arrays in this process, return each result and write it; see `in_process`."""
        self.check_configured()
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
            self._chosen = self._manage_input_and_output_lists(
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
            self._chosen = self._manage_input_and_output_lists(
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

    def _manage_input_and_output_lists(
        self,
        list_of_lists_or_source_folder: Any,
        output_folder_or_list_of_truncated_output_files: Any,
        folder_with_segs_from_prev_stage: str | None = None,
        overwrite: bool = True,
        part_id: int = 0,
        num_parts: int = 1,
        save_probabilities: bool = False,
    ) -> Lists:
        """Return files, outputs and previous masks of the cases to predict, none of which is refused.

        They are chosen before nnU-Net writes its files into the output, and stay what they are while it runs.
        """
        if self._chosen is not None:
            return self._chosen
        ending = self.dataset_json["file_ending"]
        lists = super()._manage_input_and_output_lists(
            image_lists(list_of_lists_or_source_folder, ending),
            output_folder_or_list_of_truncated_output_files,
            folder_with_segs_from_prev_stage,
            True,
            part_id,
            num_parts,
            save_probabilities,
        )
        self.cases = {}
        run = self._run if lists[1] else None
        chosen = case_lists(lists, ending, writes=run is not None)
        done: set[int] = set()
        if run is not None and not overwrite:  # nnU-Net takes a case with a file for finished; here it needs its record
            done = run.done(chosen.paths, ending, save_probabilities, self.model, self.settings)
            logger.info("%d of %d cases are finished, %d to go", len(done), len(lists[0]), len(lists[0]) - len(done))
        chosen = chosen.without(done)
        stage = self.configuration_manager.previous_stage_name
        check_previous_stage(stage, folder_with_segs_from_prev_stage, chosen.previous)
        images = dict(zip(chosen.case_ids, chosen.inputs, strict=True))
        check_images(images, list(self.dataset_json["channel_names"].values()))
        if run is not None:
            run.begin(chosen.paths, overwrite)
        self._waiting = list(chosen.case_ids)
        return chosen.lists

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
        self.check_configured()
        if isinstance(output, str) and not overwrite:  # before nnU-Net writes into the folder
            check_same_run(Path(output), run.name, self.model, self.settings)
        self._run = run
        try:
            with attended() as self._failures, exporting() as self._hand_over:
                yield
            run.finish(self.model, self.settings, self.targets, self.worklist)
        finally:
            self._run = self._chosen = None
