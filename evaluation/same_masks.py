"""Whether predictions are the references themselves: the same folder, or files that are equal byte by byte."""

from __future__ import annotations

import filecmp
from collections.abc import Mapping
from pathlib import Path

from nnunet_multitask.errors import InputError


def same_masks(
    reference_dir: Path, references: Mapping[str, Path], prediction_dir: Path, predictions: Mapping[str, Path]
) -> InputError | None:
    """Return a warning where every prediction is its reference, None as soon as one of them differs.

    Args:
        reference_dir, prediction_dir: both exist.
        references, predictions: mask by case id.
    """
    remedy = "name the folder of the predictions: these scores say nothing of a model"
    if reference_dir.resolve() == prediction_dir.resolve():
        return InputError("same-folder", prediction_dir, "expected predictions, got the folder of references", remedy)
    pairs = [(path, predictions[case_id]) for case_id, path in references.items() if case_id in predictions]
    if pairs and all(filecmp.cmp(*pair, shallow=False) for pair in pairs):
        fault = f"expected predictions, got {len(pairs)} files that all equal their reference byte by byte"
        return InputError("same-files", prediction_dir, fault, remedy)
    return None
