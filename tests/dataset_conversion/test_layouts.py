"""Images, masks and channels found by their names, in plain folders and in raw datasets of nnU-Net."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_multitask.dataset_conversion.layouts import FoundCase, find_layout, list_volumes, pair_files
from nnunet_multitask.errors import InputError, InputErrors


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names_of(cases: dict[str, FoundCase]) -> dict[str, list[str]]:
    return {case_id: [path.name for path in case.images] for case_id, case in cases.items()}


@pytest.mark.parametrize(
    ("files", "num_channels", "cases"),
    [
        (["a", "b"], 1, {"a": ["a"], "b": ["b"]}),
        (["a_0000", "b"], 1, {"a": ["a_0000"], "b": ["b"]}),
        (["hip_0004", "hip_0017"], 1, {"hip_0004": ["hip_0004"], "hip_0017": ["hip_0017"]}),
        (["h_0004_0000", "h_0004_0001"], 2, {"h_0004": ["h_0004_0000", "h_0004_0001"]}),
        (["a_0001", "a_0000"], 2, {"a": ["a_0000", "a_0001"]}),
        (["a_00000", "a_000"], 1, {"a_00000": ["a_00000"], "a_000": ["a_000"]}),
    ],
)  # fmt: skip
def test_channels_are_told_from_case_numbers(
    tmp_path: Path, files: list[str], num_channels: int, cases: dict[str, list[str]]
) -> None:
    touch(tmp_path / "i", *(f"{name}.nii.gz" for name in files))
    found, _ = pair_files(tmp_path / "i", tmp_path / "m", num_channels)
    assert names_of(found) == {name: [f"{stem}.nii.gz" for stem in stems] for name, stems in cases.items()}


def test_cases_numbered_from_0_on_are_told_by_their_masks(tmp_path: Path) -> None:
    files = [f"case_{index:04d}.nii.gz" for index in range(12)]
    touch(tmp_path, *(f"i/{name}" for name in files), *(f"m/{name}" for name in files))
    found, orphans = pair_files(tmp_path / "i", tmp_path / "m", 1)
    assert names_of(found) == {name.removesuffix(".nii.gz"): [name] for name in files}
    assert all(case.mask == tmp_path / "m" / f"{name}.nii.gz" for name, case in found.items())
    assert orphans == []
    (tmp_path / "m" / files[3]).unlink()  # then they may be channels
    with pytest.raises(InputErrors, match=r"expected the channels 0 to 0 of case, got 12 of them -> .*the case CASE$"):
        pair_files(tmp_path / "i", tmp_path / "m", 1)


def test_masks_may_have_another_ending_and_be_alone(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz", "images/b.nii", "labels/a.nii", "labels/c.mha", "images/.b.nii", "images/x.txt")
    layout = find_layout(tmp_path)
    assert names_of(dict(layout.cases)) == {"a": ["a.nii.gz"], "b": ["b.nii"]}
    assert layout.cases["a"].mask == tmp_path / "labels" / "a.nii"
    assert layout.cases["b"].mask is None
    assert layout.cases["b"].mask_place == tmp_path / "labels" / "b.nii"
    assert layout.masks_without_image == [tmp_path / "labels" / "c.mha"]
    assert layout.file_ending == ".nii.gz"
    assert layout.channel_names == ("CT",)
    assert layout.labels is None


def test_endings_that_agree_are_kept(tmp_path: Path) -> None:
    assert find_layout(touch(tmp_path, "images/a.mha", "labels/a.mha")).file_ending == ".mha"


def test_one_case_in_two_files(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.nii.gz", "images/a.nii")
    with pytest.raises(InputErrors, match=r"\[duplicate-case\] .*a.nii.gz: expected each case once, a.nii is there"):
        list_volumes(tmp_path / "images")


def test_other_names_of_the_folders(tmp_path: Path) -> None:
    touch(tmp_path, "images/x.nii.gz", "data/001.nii.gz", "ground truths/001.nii.gz")
    layout = find_layout(tmp_path, images="data", labels="ground truths")
    assert layout.cases["001"].mask == tmp_path / "ground truths" / "001.nii.gz"


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[missing-folder\] .*images: expected a folder"):
        find_layout(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match=r"\[missing-images\] .*expected images \(.nii.gz, .*\), found none"):
        find_layout(tmp_path)


DATASET: dict[str, Any] = {
    "channel_names": {"0": "T1", "1": "noNorm"},
    "labels": {"background": 0, "edema": 1, "whole": [1, 2], "ignore": 3},
    "regions_class_order": [2, 1],
    "file_ending": ".nii.gz",
    "numTraining": 1,
    "reference": "somebody 2020",
    "license": "CC BY",
}


def raw_dataset(root: Path, document: Any) -> Path:
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(document))
    return touch(
        root,
        *(f"imagesTr/a_000{n}.nii.gz" for n in range(2)),
        *(f"imagesTs/b_000{n}.nii.gz" for n in range(2)),
        "labelsTr/a.nii.gz",
    )


def test_raw_dataset_of_nnunet(tmp_path: Path) -> None:
    layout = find_layout(raw_dataset(tmp_path, DATASET))
    assert layout.channel_names == ("T1", "noNorm")
    assert layout.labels == {"edema": 1, "whole": [1, 2], "ignore": 3}
    assert layout.regions_class_order == (2, 1)
    assert (layout.reference, layout.licence, layout.description) == ("somebody 2020", "CC BY", "")
    images = tuple(tmp_path / "imagesTs" / f"b_000{n}.nii.gz" for n in range(2))
    assert layout.cases["b"] == FoundCase(images, None, tmp_path / "labelsTs" / "b.nii.gz", in_test_folder=True)
    assert not layout.cases["a"].in_test_folder
    assert find_layout(tmp_path, channel_names=["A", "B"]).channel_names == ("A", "B")


def test_raw_dataset_without_dataset_json(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    layout = find_layout(tmp_path)
    assert list(layout.cases) == ["a"]
    assert (layout.channel_names, layout.labels) == (("CT",), None)


def test_case_in_training_and_test(tmp_path: Path) -> None:
    touch(raw_dataset(tmp_path, DATASET), "imagesTs/a_0000.nii.gz", "imagesTs/a_0001.nii.gz")
    with pytest.raises(InputErrors, match=r"\[duplicate-case\] .*imagesTs/a_0000.* it is .*imagesTr/a_0000.nii.gz"):
        find_layout(tmp_path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"channel_names": ["T1"]},
            r'expected channel names as \{"0": name, ...\}, got \[.T1.\] -> .*--channel-name',
        ),
        ({"channel_names": {"0": "T1", "2": "T2"}}, "expected channel names as"),
        ({"labels": {"0": "background"}}, r'expected labels as \{"background": 0, name: value, ...\}'),
        ({"labels": [1]}, "expected labels as"),
        ({"labels": {"background": 0, "a": "1"}}, "expected labels as"),
        ({"regions_class_order": 1}, "expected regions_class_order as a list of values, got 1"),
    ],
)
def test_dataset_json_of_another_form(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    raw_dataset(tmp_path, DATASET | change)
    with pytest.raises(InputError, match=rf"\[bad-document\] .*dataset.json: {text}"):
        find_layout(tmp_path)


def test_dataset_json_that_is_no_object(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[bad-document\] .*expected an object"):
        find_layout(raw_dataset(tmp_path, [1]))
