"""Which files belong together, found in any folder under any name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnunet_multitask.dataset_conversion.dicom_series import Discovery, find_stacks
from nnunet_multitask.errors import InputError

PIXELS = [np.full((6, 5), index, np.int16) for index in range(4)]
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)

Write = Callable[..., Path]
WriteSeries = Callable[..., list[Path]]


def find(folder: Path) -> Discovery:
    return find_stacks(folder, progress=False)


def test_slices_in_order_of_position_whatever_their_names(tmp_path: Path, write_series: WriteSeries) -> None:
    paths = write_series(tmp_path / "deep" / "er", PIXELS)
    (stack,) = find(tmp_path).stacks
    assert [header.path for header in stack.slices] == paths
    assert [header.position_mm[2] for header in stack.slices] == [0, 5, 10, 15]
    assert stack.number == 0


def test_several_series_in_one_folder_and_one_series_in_several(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series(tmp_path / "a", PIXELS, SeriesInstanceUID="1.1")
    for path in write_series(tmp_path / "b", PIXELS, SeriesInstanceUID="1.2")[:2]:
        path.rename(tmp_path / "a" / f"{path.name}_of_b")
    assert {stack.series_uid: len(stack.slices) for stack in find(tmp_path).stacks} == {"1.1": 4, "1.2": 4}


def test_orientations_and_matrices_of_one_series_are_parted(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series(tmp_path / "a", PIXELS)
    write_series(tmp_path / "b", PIXELS, [(0, 3.0 * i, 0) for i in range(4)], CORONAL)
    write_series(tmp_path / "c", [np.zeros((8, 5), np.int16)] * 3)
    write_series(tmp_path / "d", PIXELS[:1], [(0, 0, 90)], CORONAL, PixelSpacing=["0.7", "0.7"])
    found = find(tmp_path)
    assert [(stack.number, len(stack.slices), stack.slices[0].path.parent.name) for stack in found.stacks] == [
        (1, 4, "a"),
        (2, 4, "b"),
        (3, 3, "c"),
    ]
    (alone,) = found.left_out
    assert alone.code == "single-slice"
    assert "the only slice of its orientation and matrix in its series" in str(alone)


def test_acquisitions_over_the_same_positions_are_parted(tmp_path: Path, write_series: WriteSeries) -> None:
    for number in (1, 2):
        for index, path in enumerate(write_series(tmp_path / str(number), PIXELS, AcquisitionNumber=number)):
            set_uid(path, f"1.2.{number}.{index}")
    stacks = find(tmp_path).stacks
    assert [(stack.number, {h.acquisition_number for h in stack.slices}) for stack in stacks] == [(1, {1}), (2, {2})]


def test_acquisition_numbers_that_rise_within_a_scan_part_nothing(tmp_path: Path, write_dicom: Write) -> None:
    for index in range(4):
        write_dicom(tmp_path / str(index), PIXELS[index], (0, 0, 5 * index), AcquisitionNumber=index)
    (stack,) = find(tmp_path).stacks
    assert len(stack.slices) == 4


def test_copies_of_a_slice_stay_in_the_stack(tmp_path: Path, write_series: WriteSeries) -> None:
    paths = write_series(tmp_path, PIXELS)
    (tmp_path / "copy").write_bytes(paths[2].read_bytes())
    (stack,) = find(tmp_path).stacks
    assert [header.position_mm[2] for header in stack.slices] == [0, 5, 10, 10, 15]


def test_everything_else_is_named(tmp_path: Path, write_series: WriteSeries, write_dicom: Write) -> None:
    write_series(tmp_path, PIXELS)
    write_dicom(tmp_path / "scout", PIXELS[0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_dicom(tmp_path / "photo", PIXELS[0], SOPClassUID="1.2.840.10008.5.1.4.1.1.7", SeriesInstanceUID="1.9")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / ".hidden").write_text("not looked at")
    write_dicom(tmp_path / "cut", PIXELS[0])
    (tmp_path / "cut").write_bytes((tmp_path / "cut").read_bytes()[:400])
    found = find(tmp_path)
    assert len(found.stacks) == 1
    assert Counter(file.code for file in found.left_out) == {"localizer": 1, "no-slice": 1, "not-dicom": 1}
    assert [(fault.code, Path(fault.where).name) for fault in found.faults] == [("truncated-dicom", "cut")]


def test_nothing_there(tmp_path: Path) -> None:
    assert find(tmp_path) == Discovery((), (), ())
    with pytest.raises(InputError, match=r"\[missing-folder\]"):
        find(tmp_path / "none")


def set_uid(path: Path, uid: str) -> None:
    import pydicom

    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = uid
    dataset.save_as(path)
