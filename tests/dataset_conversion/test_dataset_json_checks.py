"""What nnU-Net would stop at in dataset.json, compared with nnU-Net's own label manager."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.dataset_conversion.dataset_json_checks import (
    dataset_json_faults,
    label_values,
    read_dataset_json,
)
from nnunet_multitask.documents import write_json
from nnunet_multitask.errors import InputError, InputErrors

PATH = Path("dataset.json")
REGIONS = {"background": 0, "whole": [1, 2], "core": 2}


def document(labels: Any = None, **changes: Any) -> dict[str, Any]:
    labels = {"background": 0, "x": 1} if labels is None else labels
    return {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"} | changes


SOUND = [
    document(),
    document({"background": 0, "x": 1, "ignore": 2}),
    document(REGIONS, regions_class_order=[1, 2]),
    document({**REGIONS, "ignore": 3}, regions_class_order=[1, 2]),
    document(channel_names={"1": "b", "0": "a"}),
]
FAULTY = [
    (document({"x": 1}), "labels", 'expected "background": 0, got None'),
    (document({"background": 1, "x": 0}), "labels", 'expected "background": 0, got 1'),
    (document({"background": 0, "x": 1, "ignore": 3}), "labels/ignore", "expected the highest value, 2, got 3"),
    (document({"background": 0, "x": 2, "ignore": 1}), "labels/ignore", "expected the highest value, 3, got 1"),
    (document(REGIONS), "regions_class_order", "expected a value for each of the regions whole, core, got None"),
    (document(REGIONS, regions_class_order=[1]), "regions_class_order", "got [1]"),
]


@pytest.mark.parametrize("sound", SOUND)
def test_sound_documents(sound: dict[str, Any]) -> None:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    assert dataset_json_faults(sound, PATH) == []
    LabelManager(sound["labels"], sound.get("regions_class_order"))


@pytest.mark.parametrize(("faulty", "place", "text"), FAULTY)
def test_what_nnunet_stops_at(faulty: dict[str, Any], place: str, text: str) -> None:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    with pytest.raises((AssertionError, RuntimeError)):
        LabelManager(faulty["labels"], faulty.get("regions_class_order"))
    found = dataset_json_faults(faulty, PATH)
    assert any(error.where == f"dataset.json: {place}" and text in error.fault for error in found), found
    assert {error.code for error in found} == {"bad-dataset-json"}


@pytest.mark.parametrize(
    ("faulty", "text"),
    [
        (document({"background": 0, "x": 2}), "expected the values 0 to 2 without a gap, got [0, 2]"),
        (document(channel_names={"0": "a", "2": "b"}), "expected the keys \"0\", \"1\", ..., got ['0', '2']"),
        (document(channel_names={}), 'expected the keys "0", "1", ..., got []'),
    ],
)
def test_what_its_other_checks_stop_at(faulty: dict[str, Any], text: str) -> None:
    (error,) = dataset_json_faults(faulty, PATH)
    assert text in error.fault


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    write_json(path, document())
    assert read_dataset_json(path) == document()
    write_json(path, document(numTraining="2", labels=None) | {"labels": 3})
    with pytest.raises(InputError, match=r"\[bad-dataset-json\] .*got none or a wrong labels, numTraining"):
        read_dataset_json(path)
    write_json(path, document({"background": 0, "x": "1", "y": [], "z": -1, "w": True}))
    with pytest.raises(InputErrors) as caught:
        read_dataset_json(path)
    assert [error.where.rpartition("/")[2] for error in caught.value.errors] == ["x", "y", "z", "w"]


def test_values_of_labels_and_regions() -> None:
    assert label_values(REGIONS) == {"background": (0,), "whole": (1, 2), "core": (2,)}
