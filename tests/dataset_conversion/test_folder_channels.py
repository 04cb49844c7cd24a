"""The generic converter: channels of a case, by the number at the end of a file name or by name."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from folder_source import make, run, save

from nnunet_multitask.dataset_conversion.channels import ChannelOptions
from nnunet_multitask.dataset_conversion.folder import convert
from nnunet_multitask.dataset_conversion.folder_settings import FolderSettings
from nnunet_multitask.dataset_conversion.sources import ConversionOptions
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors


def test_several_channels(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\n", cases="ab")
    for case in "ab":
        (source / "images" / f"{case}.nii.gz").rename(source / "images" / f"{case}_0000.nii.gz")
        save(source / "images" / f"{case}_0001.nii.gz")
    folder = run(source, channel_names=["T1", "T2"])
    assert sorted(path.name for path in (folder / "imagesTr").iterdir()) == [
        "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz",
    ]  # fmt: skip
    (source / "images" / "b_0001.nii.gz").unlink()
    with pytest.raises(InputErrors, match=r"\[missing-channel\] .*expected the channels 0 to 1 of b, got \[0\]"):
        run(source, channel_names=["T1", "T2"], overwrite=True)


def test_case_names_that_end_in_four_digits(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na_0004,x\nb_0017,y\n", cases="")
    for case in ("a_0004", "b_0017"):
        save(source / "images" / f"{case}.nii.gz")
        save(source / "labels" / f"{case}.nii.gz")
    assert sorted(path.name for path in (run(source) / "imagesTr").iterdir()) == [
        "a_0004_0000.nii.gz", "b_0017_0000.nii.gz",
    ]  # fmt: skip


def test_numbers_that_are_read_as_channels(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na_0000,x\nb,y\nc,y\n")
    (source / "images" / "a.nii.gz").rename(source / "images" / "a_0000.nii.gz")
    with pytest.raises(InputErrors) as caught:
        run(source)
    assert [error.code for error in caught.value.errors] == ["missing-image", "missing-row"]
    assert all("_0000 at the end of an image name is read as the number" in str(e) for e in caught.value.errors)
    (source / "classes.csv").write_text("case,c\na,x\nb,y\nc,y\n")
    (source / "labels" / "a.nii.gz").rename(source / "labels" / "a_0000.nii.gz")
    with pytest.raises(InputErrors, match=r"\[missing-mask\] .*rename a_0000.nii.gz to a.nii.gz"):
        run(source)
    save(source / "images" / "a_0001.nii.gz")
    with pytest.raises(InputErrors, match=r"\[missing-channel\] .*the case CASE$"):
        run(source)


def test_windows_of_something_else_than_ct(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\nc,x\n")
    options = ConversionOptions(progress=False, num_workers=1, channels=ChannelOptions(windows=("brain",)))
    with pytest.raises(InputError, match=r"\[no-hounsfield\] --windows: expected a CT .*, got the channels MR"):
        convert(
            source,
            tmp_path / "raw",
            dataset_id=7,
            dataset_name="Own",
            settings=FolderSettings(channel_names=["MR"]),
            options=options,
        )
    folder = convert(source, tmp_path / "raw", dataset_id=7, dataset_name="Own", options=options).folder
    assert read_json(folder / "dataset.json")["channel_names"] == {"0": "rgb_to_0_1"}
    assert nibabel.load(folder / "imagesTr" / "a_0000.nii.gz").get_data_dtype() == np.uint8


def test_channels_that_nobody_named_are_one_fault(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\n", cases=["a_0000", "a_0001", "b_0000", "b_0001"])
    for mask in (source / "labels").iterdir():
        mask.unlink()
    with pytest.raises(
        InputError, match=r"images: expected 1 channel a case, all 2 cases have the channels 0, 1 -> "
    ) as e:
        run(source, channel_names=None)
    assert e.value.remedy.startswith("give 2 names: --channel-name A,B; ")
