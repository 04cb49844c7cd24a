"""Cases in folders, datasets by name or id, folders that variables name."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_multitask.datasets import (
    find_dataset,
    list_cases,
    list_image_channels,
    optional_folder,
    required_folder,
    training_images,
    training_masks,
)
from nnunet_multitask.errors import InputError, InputErrors


def test_list_cases(tmp_path: Path) -> None:
    for name in ("b.nii.gz", "a.nii.gz", ".tmp-1-a.nii.gz", "dataset.json"):
        (tmp_path / name).touch()
    assert list_cases(tmp_path, ".nii.gz") == {"a": tmp_path / "a.nii.gz", "b": tmp_path / "b.nii.gz"}
    with pytest.raises(InputError, match=r"\[missing-folder\]"):
        list_cases(tmp_path / "none", ".nii.gz")


def test_list_image_channels(tmp_path: Path) -> None:
    for name in ("a_0001.nii.gz", "a_0000.nii.gz", "b_c_0000.nii.gz"):
        (tmp_path / name).touch()
    assert {case: [p.name for p in paths] for case, paths in list_image_channels(tmp_path, ".nii.gz").items()} == {
        "a": ["a_0000.nii.gz", "a_0001.nii.gz"],
        "b_c": ["b_c_0000.nii.gz"],
    }
    (tmp_path / "d.nii.gz").touch()
    (tmp_path / "e_0001.nii.gz").touch()
    with pytest.raises(
        InputErrors, match=r"expected CASE_0000.nii.gz.*\n.*expected the channel 0000 of case e, got 0001"
    ):
        list_image_channels(tmp_path, ".nii.gz")


def test_find_dataset(tmp_path: Path) -> None:
    for name in ("Dataset042_Foo", "Dataset007_Bar", "Dataset007_Baz", "other"):
        (tmp_path / name).mkdir()
    assert find_dataset(tmp_path, 42) == tmp_path / "Dataset042_Foo"
    assert find_dataset(tmp_path, "042") == tmp_path / "Dataset042_Foo"
    assert find_dataset(tmp_path, "Dataset007_Baz") == tmp_path / "Dataset007_Baz"
    with pytest.raises(InputError, match="expected one dataset with the id 7, got Dataset007_Bar, Dataset007_Baz"):
        find_dataset(tmp_path, 7)
    with pytest.raises(InputError, match=r"expected the dataset 1, found Dataset007_Bar, .*Dataset042_Foo"):
        find_dataset(tmp_path, 1)


def test_required_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_raw", raising=False)
    with pytest.raises(
        InputError, match=r"variable nnUNet_raw: expected a folder, it is unset -> set it: export nnUNet_raw"
    ):
        required_folder("nnUNet_raw")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"\[missing-folder\] .*no such folder: .*none -> make the folder"):
        required_folder("nnUNet_raw")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    assert required_folder("nnUNet_raw") == tmp_path


def test_training_files_in_folders_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, name in (("imagesTr", "a_0000.nii.gz"), ("labelsTr", "a.nii.gz")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    plain = {"file_ending": ".nii.gz"}
    assert training_images(tmp_path, plain) == {"a": [tmp_path / "imagesTr" / "a_0000.nii.gz"]}
    assert training_masks(tmp_path, plain) == {"a": tmp_path / "labelsTr" / "a.nii.gz"}
    monkeypatch.setenv("SCANS", "/data")
    named = {**plain, "dataset": {"b": {"images": ["$SCANS/b.nii.gz", "x/b2.nii.gz"], "label": "x/b.nii.gz"}}}
    assert training_images(tmp_path, named) == {"b": [Path("/data/b.nii.gz"), tmp_path / "x" / "b2.nii.gz"]}
    assert training_masks(tmp_path, named) == {"b": tmp_path / "x" / "b.nii.gz"}
    for wrong in (["b"], {"b": {"images": ["x"]}}, {"b": 3}):
        with pytest.raises(InputError, match=r"\[bad-dataset-json\] .*dataset.json: dataset: expected"):
            training_masks(tmp_path, {**plain, "dataset": wrong})


def test_optional_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    assert optional_folder("nnUNet_raw") == tmp_path
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "none"))
    assert optional_folder("nnUNet_raw") is None
    monkeypatch.delenv("nnUNet_raw")
    assert optional_folder("nnUNet_raw") is None
