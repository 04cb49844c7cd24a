"""Regions from the labels of dataset.json, and dataset.json itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.evaluation.dataset_json import find_dataset_json, read_dataset_json
from nnunet_multitask.evaluation.regions import Regions


def test_labels_and_all_of_them() -> None:
    regions = Regions.from_labels({"background": 0, "IPH": 1, "IVH": 2})
    assert regions.values == {"IPH": (1,), "IVH": (2,), "foreground": (1, 2)}
    array = np.array([0, 1, 2])
    assert regions.mask(array, "IVH").tolist() == [False, False, True]
    assert regions.mask(array, "foreground").tolist() == [False, True, True]


def test_overlapping_regions_and_an_ignore_label() -> None:
    regions = Regions.from_labels({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3})
    array = np.array([0, 1, 2, 3])
    assert regions.mask(array, "whole").tolist() == [False, True, True, False]
    assert regions.mask(array, "foreground").tolist() == [False, True, True, False]
    assert regions.allowed_in_prediction == {0, 1, 2}
    assert regions.allowed_in_reference == {0, 1, 2, 3}


def test_a_label_called_foreground_must_mean_all() -> None:
    assert Regions.from_labels({"background": 0, "foreground": 1}).values == {"foreground": (1,)}
    with pytest.raises(
        InputError, match=r'\[reserved-label\].*expected "foreground" to be all labels together \[1, 2\]'
    ):
        Regions.from_labels({"foreground": 1, "other": 2})


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[no-labels\]"):
        Regions.from_labels({"background": 0})


def test_reading_dataset_json(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(
        json.dumps({"labels": {"a": 1}, "file_ending": ".nrrd", "channel_names": {"0": "CT", "1": "PET", "10": "x"}})
    )
    info = read_dataset_json(path)
    assert (info.labels, info.file_ending, info.channel_names) == ({"a": 1}, ".nrrd", ("CT", "PET", "x"))


@pytest.mark.parametrize("labels", [None, {}, {"a": "1"}, {"a": [1, -1]}, {"a": []}, {"a": True}])
def test_labels_that_are_none_are_refused(tmp_path: Path, labels: Any) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"labels": labels}))
    with pytest.raises(InputError, match=r"\[bad-dataset-json\].*dataset.json: labels: expected label names"):
        read_dataset_json(path)


def test_dataset_json_is_found_beside_the_reference_first(tmp_path: Path) -> None:
    reference, prediction = tmp_path / "raw" / "labelsTs", tmp_path / "prediction"
    reference.mkdir(parents=True)
    prediction.mkdir()
    with pytest.raises(InputError, match=r"\[missing-dataset-json\].*name it with --dataset-json"):
        find_dataset_json(reference, [prediction])
    (prediction / "dataset.json").touch()
    assert find_dataset_json(reference, [prediction]) == prediction / "dataset.json"
    (tmp_path / "raw" / "dataset.json").touch()
    assert find_dataset_json(reference, [prediction]) == tmp_path / "raw" / "dataset.json"
