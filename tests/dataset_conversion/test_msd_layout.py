"""The dataset.json of the Medical Decathlon: what it lists, and where it may not lead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.dataset_conversion.layouts import FoundCase, find_layout
from nnunet_multitask.errors import InputError, InputErrors

TASK: dict[str, Any] = {
    "name": "Hippocampus",
    "description": "Left and right hippocampus segmentation",
    "reference": "Vanderbilt University Medical Center",
    "licence": "CC-BY-SA 4.0",
    "tensorImageSize": "3D",
    "modality": {"0": "MRI"},
    "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
    "numTraining": 2,
    "numTest": 1,
    "training": [
        {"image": "./imagesTr/h_367.nii.gz", "label": "./labelsTr/h_367.nii.gz"},
        {"image": "./imagesTr/h_304.nii.gz", "label": "./labelsTr/h_304.nii.gz"},
    ],
    "test": ["./imagesTs/h_267.nii.gz"],
}


def make(root: Path, change: dict[str, Any], *more: str) -> Path:
    (root / "dataset.json").write_text(json.dumps(TASK | change))
    names = ("imagesTr/h_367", "labelsTr/h_367", "imagesTr/h_304", "labelsTr/h_304", "imagesTs/h_267", *more)
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / f"{name}.nii.gz").touch()
    (root / "imagesTr" / "._h_367.nii.gz").touch()  # the archives hold such files
    return root


def test_listed_files(tmp_path: Path) -> None:
    layout = find_layout(make(tmp_path, {}))
    assert list(layout.cases) == ["h_367", "h_304", "h_267"]
    image, mask = tmp_path / "imagesTr" / "h_367.nii.gz", tmp_path / "labelsTr" / "h_367.nii.gz"
    assert layout.cases["h_367"] == FoundCase((image,), mask, mask)
    test = tmp_path / "imagesTs" / "h_267.nii.gz"
    assert layout.cases["h_267"] == FoundCase((test,), None, tmp_path / "labelsTs" / test.name, in_test_folder=True)
    assert layout.channel_names == ("MRI",)
    assert layout.labels == {"Anterior": 1, "Posterior": 2}
    assert (layout.reference, layout.licence) == (TASK["reference"], TASK["licence"])


def test_masks_of_test_cases_are_taken_where_they_are(tmp_path: Path) -> None:
    layout = find_layout(make(tmp_path, {}, "labelsTs/h_267"))
    assert layout.cases["h_267"].mask == tmp_path / "labelsTs" / "h_267.nii.gz"


def test_several_modalities_lie_in_one_file_or_in_numbered_ones(tmp_path: Path) -> None:
    change = {"modality": {"0": "FLAIR", "1": "T1w"}, "test": []}
    layout = find_layout(make(tmp_path, change))
    assert layout.channel_names == ("FLAIR", "T1w")
    assert layout.cases["h_304"].channels_in_one_file
    (tmp_path / "imagesTr" / "h_304.nii.gz").rename(tmp_path / "imagesTr" / "h_304_0000.nii.gz")
    with pytest.raises(InputErrors, match=r"\[missing-image\] .*h_304_0001.nii.gz: expected an image that dataset"):
        find_layout(tmp_path)
    (tmp_path / "imagesTr" / "h_304_0001.nii.gz").touch()
    case = find_layout(tmp_path).cases["h_304"]  # as nnU-Net's first version had it
    assert [path.name for path in case.images] == ["h_304_0000.nii.gz", "h_304_0001.nii.gz"]
    assert not case.channels_in_one_file


@pytest.mark.parametrize(
    "entry", ["../secret.nii.gz", "/etc/passwd.nii.gz", "imagesTr/../../x.nii.gz", "a\0.nii.gz", "a.txt", 7, None, {}]
)
def test_no_entry_leads_out_of_the_folder(tmp_path: Path, entry: Any) -> None:
    make(tmp_path, {"test": [entry]})
    with pytest.raises(InputErrors, match=r"\[unsafe-path\] .*test/0: expected the path of an image inside of the"):
        find_layout(tmp_path)


def test_all_faults_of_the_list_at_once(tmp_path: Path) -> None:
    entries = [
        {"image": "imagesTr/h_367.nii.gz", "label": "labelsTr/none.nii.gz"},
        {"image": "imagesTr/none.nii.gz", "label": "labelsTr/h_367.nii.gz"},
        {"image": "imagesTr/h_304.nii.gz"},
        {"image": "imagesTr/h_304.nii.gz"},
    ]
    with pytest.raises(InputErrors) as caught:
        find_layout(make(tmp_path, {"training": entries}))
    assert [(error.code, error.where.removeprefix(f"{tmp_path}/")) for error in caught.value.errors] == [
        ("missing-mask", "labelsTr/none.nii.gz"),
        ("missing-image", "imagesTr/none.nii.gz"),
        ("duplicate-case", "dataset.json: training/3"),
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"training": {}}, r"\[bad-document\] .*expected a list as training"),
        (
            {"labels": {"background": 0, "a": 1}},
            r'\[bad-document\] .*expected labels as \{"0": "background",',
        ),
        ({"labels": {"0": "background", "1": "a", "2": "a"}}, r"\[duplicate-label\] .*got background, a, a"),
        ({"modality": "MRI"}, r"\[bad-document\] .*expected channel names"),
    ],
)
def test_other_forms(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        find_layout(make(tmp_path, change))
