"""The writer: what it copies, links and makes, and what it says about each."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from raw_source import QUIET, blood, files, make_case, make_source, save

from nnunet_multitask.dataset_conversion.channels import ChannelOptions
from nnunet_multitask.dataset_conversion.raw_writer import write_dataset
from nnunet_multitask.documents import check_schema, read_json
from nnunet_multitask.errors import InputError
from nnunet_multitask.files import read_image, read_mask
from nnunet_multitask.labels import Case


def test_folder_and_report(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1), make_case(root, 2, is_test=True)]
    before = files(root)
    conversion = write_dataset(
        make_source(root, *cases, description="Two bleeds", licence="CC0", options={"labels": "binary"}), folder, QUIET
    )
    assert conversion.folder == folder
    assert conversion.written
    written = files(folder)
    assert sorted(name for name in written if name.endswith(".nii.gz")) == [
        "imagesTr/case_0_0000.nii.gz",
        "imagesTr/case_1_0000.nii.gz",
        "imagesTs/case_2_0000.nii.gz",
        "labelsTr/case_0.nii.gz",
        "labelsTr/case_1.nii.gz",
        "labelsTs/case_2.nii.gz",
    ]
    assert written["imagesTr/case_0_0000.nii.gz"] == before["images/case_0.nii.gz"]
    assert files(root) == before
    assert read_json(folder / "dataset.json") == {
        "name": "Dataset007_Own",
        "description": "Two bleeds",
        "licence": "CC0",
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "hemorrhage": 1},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    report = read_json(folder / "conversion_report.json")
    check_schema(report, "conversion_report.json", "report")
    assert report == conversion.report
    assert report["dataset"] == "Dataset007_Own"
    assert report["options"] == {
        "link": False,
        "tolerance_mm": 1e-3,
        "repair_geometry": False,
        "windows": [],
        "skull_strip": False,
        "mirror_channel": False,
        "labels": "binary",
    }
    assert report["channels"] == [{"name": "CT", "content": "CT"}]
    assert report["counts"] == {"training": 2, "test": 1, "label_only": 0, "repaired": 0, "excluded": 0}
    assert report["classes"] == {
        "training": {"kind": {"IPH": 1, "IVH": 1, "unknown": 0}},
        "test": {"kind": {"IPH": 1, "IVH": 0, "unknown": 0}},
    }
    assert report["cases"]["case_2"] == {
        "status": "taken",
        "part": "test",
        "images": ["images/case_2.nii.gz"],
        "mask": "labels/case_2.nii.gz",
        "inputs": {
            name: hashlib.sha256(before[name]).hexdigest() for name in ("images/case_2.nii.gz", "labels/case_2.nii.gz")
        },
        "repairs": [],
        "foreground_voxels": 1,
    }


def test_several_workers_write_the_same(root: Path, folder: Path) -> None:
    source = make_source(root, *(make_case(root, number) for number in range(5)))
    write_dataset(source, folder, QUIET)
    alone = files(folder)
    write_dataset(source, folder, replace(QUIET, num_workers=2, overwrite=True))
    assert files(folder) == alone


def test_classes_by_split_of_the_source(root: Path, folder: Path) -> None:
    splits = ["train", "val", "train"]
    cases = [
        make_case(root, number, case=Case({"kind": "IVH"} if number else {}, split=split))
        for number, split in enumerate(splits)
    ]
    assert write_dataset(make_source(root, *cases), folder, QUIET).report["splits"] == {
        "train": {"kind": {"IPH": 0, "IVH": 1, "unknown": 1}},
        "val": {"kind": {"IPH": 0, "IVH": 1, "unknown": 0}},
    }


def test_label_only_cases_are_ignored_everywhere(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1, mask=None), make_case(root, 2, mask=None, is_test=True)]
    report = write_dataset(make_source(root, *cases), folder, QUIET).report
    mask = read_mask(folder / "labelsTr" / "case_1.nii.gz")
    assert mask.array.dtype == np.uint8
    assert (mask.array == 2).all()
    np.testing.assert_allclose(mask.affine, read_image(cases[1].images[0]).affine)
    assert list((folder / "labelsTs").iterdir()) == []
    labels = read_json(folder / "dataset.json")["labels"]
    assert list(labels.items()) == [("background", 0), ("hemorrhage", 1), ("ignore", 2)]
    assert report["counts"]["label_only"] == 1
    assert report["cases"]["case_1"]["mask"] is None
    assert report["cases"]["case_1"]["foreground_voxels"] is None
    check_schema(report, "conversion_report.json", "report")


def test_declared_ignore_label_stands_last(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1, mask=None)]
    labels = {"ignore": 3, "IPH": 1, "IVH": 2}
    write_dataset(make_source(root, *cases, labels=labels), folder, QUIET)
    assert (read_mask(folder / "labelsTr" / "case_1.nii.gz").array == 3).all()
    written = read_json(folder / "dataset.json")["labels"]
    assert list(written.items()) == [("background", 0), ("IPH", 1), ("IVH", 2), ("ignore", 3)]


def test_regions(root: Path, folder: Path) -> None:
    source = make_source(root, make_case(root, 0), labels={"any": [1, 2], "IVH": 2}, regions_class_order=(1, 2))
    write_dataset(source, folder, QUIET)
    document = read_json(folder / "dataset.json")
    assert document["labels"] == {"background": 0, "any": [1, 2], "IVH": 2}
    assert document["regions_class_order"] == [1, 2]


def test_links_only_where_asked_for(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1)]
    assert cases[1].mask is not None
    save(cases[1].mask, blood() * 1.0001)
    write_dataset(make_source(root, *cases), folder, replace(QUIET, link=True))
    assert (folder / "imagesTr" / "case_0_0000.nii.gz").samefile(cases[0].images[0])
    assert (folder / "labelsTr" / "case_1.nii.gz").stat().st_nlink == 1  # mended, so it is a file of its own
    write_dataset(make_source(root, *cases), folder, replace(QUIET, overwrite=True))
    assert cases[0].images[0].stat().st_nlink == 1


def test_channels_of_a_ct(root: Path, folder: Path) -> None:
    options = replace(QUIET, channels=ChannelOptions(windows=("brain", "bone"), mirror_channel=True))
    report = write_dataset(make_source(root, make_case(root, 0)), folder, options).report
    assert len(list((folder / "imagesTr").iterdir())) == 4
    assert read_json(folder / "dataset.json")["channel_names"] == dict.fromkeys("0123", "rgb_to_0_1")
    assert report["options"]["windows"] == ["brain", "bone"]
    assert [channel["content"] for channel in report["channels"]] == [
        "brain: 40/80 HU",
        "bone: 600/2800 HU",
        "brain: 40/80 HU, mirrored left-right",
        "bone: 600/2800 HU, mirrored left-right",
    ]
    check_schema(report, "conversion_report.json", "report")


@pytest.mark.parametrize("changes", [{"channel_names": ("MR",)}, {"intensities_are_hu": False}], ids=str)
def test_windows_need_hounsfield_units(root: Path, folder: Path, changes: dict[str, Any]) -> None:
    options = replace(QUIET, channels=ChannelOptions(windows=("brain",)))
    with pytest.raises(InputError, match=r"\[no-hounsfield\] --windows"):
        write_dataset(make_source(root, make_case(root, 0), **changes), folder, options)


def test_nnunet_finds_no_fault(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nnunetv2.experiment_planning import verify_dataset_integrity as nnunet

    cases = [make_case(root, 0), make_case(root, 1, mask=None), make_case(root, 2, is_test=True)]
    options = replace(QUIET, channels=ChannelOptions(windows=("brain",), mirror_channel=True))
    write_dataset(make_source(root, *cases), folder, options)
    threads = SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=ThreadPool))
    monkeypatch.setattr(nnunet, "multiprocessing", threads)  # processes would import torch again
    nnunet.verify_dataset_integrity(str(folder), 1)
    said = capsys.readouterr().out
    assert "verify_dataset_integrity Done" in said
    assert "Warning" not in said
    assert "Error" not in said
