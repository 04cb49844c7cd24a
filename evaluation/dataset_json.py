"""What the evaluation needs of nnU-Net's dataset.json: labels, regions, file ending, channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError

DATASET_JSON = "dataset.json"
DEFAULT_FILE_ENDING = ".nii.gz"


@dataclass(frozen=True)
class DatasetInfo:
    """Labels of a dataset and how its files are named.

    Args:
        labels: name to mask values, as in dataset.json; "background" and "ignore" may be among them.
        file_ending: ending of masks and images.
        channel_names: names of the image channels in order, for example ("CT",).
    """

    labels: Mapping[str, int | list[int]]
    file_ending: str = DEFAULT_FILE_ENDING
    channel_names: tuple[str, ...] = ()


def read_dataset_json(path: str | Path) -> DatasetInfo:
    """Read the part of a dataset.json that matters here.

    Raises:
        InputError: the file is missing, is no JSON, or its labels are not integers or lists of integers.
    """
    document = read_json(path)
    labels = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(labels, dict) or not labels or not all(_is_label(value) for value in labels.values()):
        raise InputError(
            "bad-dataset-json",
            f"{path}: labels",
            f"expected label names with integers or lists of integers, got {str(labels)[:200]}",
            'write for example "labels": {"background": 0, "bleeding": 1}',
        )
    channels: Any = document.get("channel_names", {})
    return DatasetInfo(
        labels,
        document.get("file_ending", DEFAULT_FILE_ENDING),
        tuple(str(channels[key]) for key in sorted(channels, key=int)) if isinstance(channels, dict) else (),
    )


def find_dataset_json(reference_dir: str | Path, prediction_dirs: Sequence[str | Path]) -> Path:
    """Return the dataset.json beside the reference folder, or else in a folder of predictions.

    Raises:
        InputError: there is none in any of these places.
    """
    places = [Path(reference_dir).absolute().parent, *(Path(folder) for folder in prediction_dirs)]
    for place in places:
        if (place / DATASET_JSON).is_file():
            return place / DATASET_JSON
    raise InputError(
        "missing-dataset-json",
        reference_dir,
        f"expected a dataset.json in one of {', '.join(str(place) for place in places)}, found none",
        "name it with --dataset-json: it tells the labels and the file ending",
    )


def _is_label(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values)
