"""Scoring predictions: segmentation, classification, comparison of models, report. Neither torch nor nnunetv2."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunet_multitask.evaluation.calibrate import fit_calibration
    from nnunet_multitask.evaluation.calibration import apply_calibration, read_calibration
    from nnunet_multitask.evaluation.comparison import ComparisonOptions, compare_folders
    from nnunet_multitask.evaluation.folders import evaluate_folders
    from nnunet_multitask.evaluation.lesions import LesionDetection, lesion_detection
    from nnunet_multitask.evaluation.predictions import read_classification
    from nnunet_multitask.evaluation.report import write_report
    from nnunet_multitask.evaluation.segmentation import SegmentationMetrics, segmentation_metrics
    from nnunet_multitask.evaluation.volumes import volume_agreement

__all__ = [
    "ComparisonOptions",
    "LesionDetection",
    "SegmentationMetrics",
    "apply_calibration",
    "compare_folders",
    "evaluate_folders",
    "fit_calibration",
    "lesion_detection",
    "read_calibration",
    "read_classification",
    "segmentation_metrics",
    "volume_agreement",
    "write_report",
]

_HOMES = {
    "ComparisonOptions": "comparison",
    "LesionDetection": "lesions",
    "SegmentationMetrics": "segmentation",
    "apply_calibration": "calibration",
    "compare_folders": "comparison",
    "evaluate_folders": "folders",
    "fit_calibration": "calibrate",
    "lesion_detection": "lesions",
    "read_calibration": "calibration",
    "read_classification": "predictions",
    "segmentation_metrics": "segmentation",
    "volume_agreement": "volumes",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    # on first use, so that importing one part does not load scikit-learn and matplotlib
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
