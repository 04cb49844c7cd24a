"""Prediction from Python, in one process and one case after the other: masks and records are returned, and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from numpy.typing import NDArray

from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.exporting import CaseReport, complete_record, export_case
from nnunet_multitask.inference.inputs import check_array, check_images
from nnunet_multitask.inference.measures import measure_array
from nnunet_multitask.inference.run import Run

if TYPE_CHECKING:
    from nnunet_multitask.inference.predictor import MultiTaskPredictor

# the files of the channels; or an array (C, Z, Y, X) and its spacing in mm along (z, y, x)
Image = Sequence[str | Path] | tuple[NDArray[Any], Sequence[float]]


@dataclass(frozen=True)
class CaseResult:
    """A predicted case.

    Attributes:
        case_id: its name.
        mask: (Z, Y, X), integers; cleared where a gate has cleared it.
        record: what ``classification.json`` says of the case; ``tiles`` with them where they were asked for and nothing
            is written.
    """

    case_id: str
    mask: NDArray[np.integer]
    record: dict[str, Any]


def predict_images(
    predictor: MultiTaskPredictor, images: Mapping[str, Image], output: str | Path | None = None
) -> Iterator[CaseResult]:
    """Predict images one after the other.

    Args:
        predictor: with a model.
        images: by case id the files of the channels, or an array (C, Z, Y, X) with its spacing in mm.
        output: folder into which masks, records and at the end the classification are written, too; for images from
            files. Cases that were done before are predicted again.

    Yields:
        Each case when it is done, in the order of ``images``.

    Raises:
        InputError: a case id that is no name for a file, an array or spacing that is no image of the model's.
        InputErrors: every fault of every file, before the first case.
        ValueError: an output for arrays, which say nothing of their place in space.
    """
    for case_id in images if output is not None else ():
        if Path(case_id).name != case_id or case_id.startswith("."):
            fault = "expected the name of a file, without folders and without a leading dot"
            raise InputError("bad-case-id", f"case {case_id!r}", fault, "name the case otherwise")
    names = list(predictor.dataset_json["channel_names"].values())
    for case_id, image in images.items():
        if _is_array(image):
            check_array(case_id, image[0], image[1], names)
        elif isinstance(image, (str, Path)):
            fault = "expected a list of files, one for each channel, got one path"
            raise InputError("bad-image", f"case {case_id}", fault, "put it into a list")
    files = {case_id: cast(Sequence[str | Path], image) for case_id, image in images.items() if not _is_array(image)}
    if output is not None and len(files) < len(images):
        raise ValueError("masks of arrays cannot be written: their origin and direction are not known")
    check_images(files, names)
    run = Run()
    if output is not None:
        Path(output).mkdir(parents=True, exist_ok=True)
        run.begin([Path(output) / case_id for case_id in images], overwrite=True)
    for case_id, image in images.items():
        yield _predict(predictor, case_id, image, None if output is None else Path(output) / case_id)
    run.finish(predictor.model, predictor.settings, predictor.targets, predictor.worklist)


def _predict(predictor: MultiTaskPredictor, case_id: str, image: Image, output: Path | None) -> CaseResult:
    plans, configuration, dataset_json = (
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.dataset_json,
    )
    preprocessor = configuration.preprocessor_class(verbose=False)
    arguments = (plans, configuration, dataset_json)
    if _is_array(image):
        array, spacing = image
        data, _, properties = preprocessor.run_case_npy(np.asarray(array), None, {"spacing": list(spacing)}, *arguments)
    else:
        data, _, properties = preprocessor.run_case([str(path) for path in image], None, *arguments)
    prediction, logits = predictor.predict_volume(case_id, torch.from_numpy(data))
    report = CaseReport(prediction, predictor.reporting, predictor.model, predictor.settings)
    if output is not None:
        record = export_case(report, logits, properties, configuration, plans, dataset_json, str(output))
        mask, _ = plans.image_reader_writer_class().read_seg(f"{output}{dataset_json['file_ending']}")
        return CaseResult(case_id, mask[0].astype(np.int16), record)
    mask = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, configuration, predictor.label_manager, properties
    )
    measures = measure_array(mask, properties["spacing"], report.values(dataset_json))
    record = complete_record(report, measures, properties, plans, dataset_json)
    return CaseResult(case_id, np.zeros_like(mask) if record.get("gated", False) else mask, record)


def _is_array(image: Image) -> TypeGuard[tuple[NDArray[Any], Sequence[float]]]:
    """Tell an array with its spacing from files, which may be in a tuple, too."""
    return isinstance(image, tuple) and len(image) == 2 and not isinstance(image[0], (str, Path))
