"""Finishing a case where nnU-Net writes its mask: measured, gated, put in place, and its record written last."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.inference import predict_from_raw_data
from nnunetv2.inference.export_prediction import export_prediction_from_logits

from nnunet_multitask.documents import write_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.cases import CasePrediction
from nnunet_multitask.inference.measures import Measures, mask_values, measure_array, measure_mask, without_labels
from nnunet_multitask.inference.records import UNFINISHED, record_document, record_path
from nnunet_multitask.inference.reporting import Reporting, case_record, is_gated
from nnunet_multitask.inference.slices import image_boxes, slice_values, tiles_document

EXPORT = "export_prediction_from_logits"  # the name by which nnU-Net's predictor looks it up
TILES = "tiles"  # folder of the files of tiles


@dataclass(frozen=True)
class CaseReport:
    """What finishing a case needs beside nnU-Net's own arguments.

    Attributes:
        prediction: what the network says of it.
        reporting: how that is reported.
        model: what predicted it.
        settings: how.
        dicom: what is recorded of the DICOM series that the image was made of; None of other images.
    """

    prediction: CasePrediction
    reporting: Reporting
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    dicom: Mapping[str, Any] | None = None

    def values(self, dataset_json: Mapping[str, Any]) -> list[int]:
        """Return the mask values that are measured: those of dataset.json, none of a model that only classifies."""
        return mask_values(dataset_json if self.reporting.segments else without_labels(dataset_json))


@contextmanager
def exporting() -> Iterator[Callable[[CaseReport], None]]:
    """Let nnU-Net's predictor finish cases with `export_case` while the block runs.

    nnU-Net looks its function up in a global of its module each time that a volume is through the network, calls it
    or sends it to a pool of processes. Yielded is a function that takes the report of that volume.
    """
    names = vars(predict_from_raw_data)
    before = names[EXPORT]

    def hand_over(report: CaseReport) -> None:
        names[EXPORT] = partial(export_case, report)

    try:
        yield hand_over
    finally:
        names[EXPORT] = before


def export_case(
    report: CaseReport,
    logits: Any,
    properties: dict[str, Any],
    configuration_manager: Any,
    plans_manager: Any,
    dataset_json: dict[str, Any],
    output_truncated: str,
    save_probabilities: bool = False,
) -> dict[str, Any]:
    """Write mask and record of a case: the mask as nnU-Net writes it, beside its place, then everything renamed.

    The record comes last: where it is, the case is done. Where writing fails, all that was done before stays done.

    Args:
        report: what the network says of the case.
        logits, properties, configuration_manager, plans_manager, dataset_json, save_probabilities: nnU-Net's.
        output_truncated: path of the mask without its ending.

    Returns:
        The record.

    Raises:
        InputError: the system lets nobody write there (disk full), or the mask that was written cannot be read.
    """
    folder, case_id = Path(output_truncated).parent, Path(output_truncated).name
    with _written(folder / f"{case_id}{dataset_json['file_ending']}"):
        unfinished = folder / UNFINISHED / case_id
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        export_prediction_from_logits(
            logits,
            properties,
            configuration_manager,
            plans_manager,
            dataset_json,
            str(unfinished / case_id),
            save_probabilities,
        )
        mask = unfinished / f"{case_id}{dataset_json['file_ending']}"
        record = complete_record(
            report, measure_mask(mask, report.values(dataset_json)), properties, plans_manager, dataset_json
        )
        if record.get("gated", False):
            _clear(mask, plans_manager.image_reader_writer_class())
        tiles = record.pop(TILES, None)
        if tiles is not None:
            write_json(folder / TILES / f"{case_id}.json", {"version": 1, "case": case_id, **tiles})
        for path in sorted(unfinished.iterdir(), key=lambda path: path == mask):  # the mask last
            os.replace(path, folder / path.name)
        unfinished.rmdir()
        document = record_document(report.model, report.settings, report.reporting.targets, {case_id: record})
        write_json(record_path(folder, case_id), document)
        return record


def complete_record(
    report: CaseReport,
    measures: Measures,
    properties: Mapping[str, Any],
    plans_manager: Any,
    dataset_json: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is said of a case whose mask is known.

    Args:
        report: what the network says of the case.
        measures: of its mask, before a gate.
        properties, plans_manager, dataset_json: nnU-Net's.

    Returns:
        The record; ``gated`` tells whether the mask is to be cleared. Its tiles are under ``tiles`` where they are
        asked for.
    """
    reporting, tiles = report.reporting, report.prediction.tiles
    record = case_record(reporting, report.prediction, dataset_json["labels"], measures)
    if report.dicom is not None:
        record["dicom"] = dict(report.dicom)
    if reporting.gate is not None:
        record["gated"] = is_gated(reporting, record)
        if record["gated"]:
            record["labels_before_gate"] = record["labels"]
            record["labels"] = measure_array(
                np.zeros((1, 1, 1), np.uint8), (1, 1, 1), [int(value) for value in measures]
            )
    if tiles is not None and (reporting.save_slices or reporting.save_tiles):
        boxes = image_boxes(tiles, properties, plans_manager.transpose_backward)
        if reporting.save_slices:
            num_slices = properties["shape_before_cropping"][plans_manager.transpose_backward[0]]
            record["slices"] = slice_values(reporting, tiles, boxes, num_slices)
        if reporting.save_tiles:
            record[TILES] = tiles_document(reporting, tiles, boxes)
    return record


def _clear(mask: Path, reader_writer: Any) -> None:
    """Write a mask again as background alone, in its own geometry."""
    segmentation, properties = reader_writer.read_seg(str(mask))
    reader_writer.write_seg(np.zeros_like(segmentation[0], dtype=np.uint8), str(mask), properties)


@contextmanager
def _written(mask: Path) -> Iterator[None]:
    """Say of any fault of writing which mask it was, and how to go on; ITK may also leave a part, and say nothing."""
    try:
        yield
    except (OSError, InputError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "itk" not in str(error):  # something else than ITK's writer
            raise
        said = error.fault if isinstance(error, InputError) else getattr(error, "strerror", None) or error
        remedy = "make room or make it writable, then go on with --continue_prediction"
        raise InputError("cannot-write", mask, f"expected to write the case whole, got: {said}", remedy) from error
