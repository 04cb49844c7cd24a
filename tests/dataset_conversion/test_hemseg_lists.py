"""Both forms of the lists of HemSeg, and their faults."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nnunet_multitask.dataset_conversion.hemseg_lists import read_classes, read_lists

NAMES = [f"{index:09x}" for index in range(12)]


def write(path: Path, *entries: object) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def as_500(patient: str, scan: str, names: list[str]) -> dict:
    """The form of the 500: keys are numbers, sorted as text."""
    by_number = {str(number): name for number, name in enumerate(names)}
    return {
        "patient_name": patient,
        "scan_name": scan,
        "slice_list": {key: by_number[key] for key in sorted(by_number)},
    }


def test_both_forms(tmp_path: Path) -> None:
    write(tmp_path / "annotion_file_info.jsonl", {"patient": "ID_1", "scan_": "aa", "slice_list": NAMES})
    write(tmp_path / "annotion_file_info_500.jsonl", as_500("ID_1", "aa", NAMES), as_500("ID_2", "bb", NAMES))
    lists, errors = read_lists(tmp_path)
    assert errors == []
    assert {scan: entry.patient for scan, entry in lists.items()} == {"aa": "ID_1", "bb": "ID_2"}
    assert lists["aa"].slices == lists["bb"].slices == tuple(NAMES)  # 10 comes after 9, not after 1
    assert lists["bb"].place.endswith("annotion_file_info_500.jsonl: line 2")


def test_repeated_slices_are_counted_once(tmp_path: Path) -> None:
    write(tmp_path / "annotion_file_info.jsonl", {"patient": "p", "scan_": "s", "slice_list": [*NAMES, *NAMES[:5]]})
    entry = read_lists(tmp_path)[0]["s"]
    assert (entry.slices, entry.num_repeated) == (tuple(NAMES), 5)


def test_no_list(tmp_path: Path) -> None:
    assert read_lists(tmp_path) == ({}, [])


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        '["a"]',
        '{"patient": "", "scan_": "s", "slice_list": []}',
        '{"patient": "p", "slice_list": []}',
        '{"patient": "p", "scan_": "s", "slice_list": "a"}',
        '{"patient": "p", "scan_": "s", "slice_list": ["../../etc/passwd"]}',
        '{"patient": "p", "scan_": "s", "slice_list": [3]}',
        '{"patient": "p", "scan_": "s", "slice_list": {"first": "a"}}',
    ],
)
def test_other_lines_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "annotion_file_info.jsonl").write_text(f"\n{line}\n")
    scans, (error,) = read_lists(tmp_path)
    assert scans == {}
    assert re.match(r"\[bad-json\] .*jsonl: line 2: expected \{", str(error))


@pytest.mark.parametrize(
    "second", [as_500("ID_2", "aa", NAMES), as_500("ID_1", "aa", NAMES[1:])], ids=["patient", "slices"]
)
def test_lists_that_contradict_each_other(tmp_path: Path, second: dict) -> None:
    write(tmp_path / "annotion_file_info.jsonl", {"patient": "ID_1", "scan_": "aa", "slice_list": NAMES})
    write(tmp_path / "annotion_file_info_500.jsonl", second)
    _, (error,) = read_lists(tmp_path)
    assert re.search(r"_500.jsonl: line 1: .* for aa, .*info.jsonl: line 1 has others", str(error))


def test_classes_of_all_tables(tmp_path: Path) -> None:
    (tmp_path / "train_set.csv").write_text("filename,label\naa,0\nbb,1\n")
    (tmp_path / "test_set.csv").write_text("\ufefffilename;label\r\ncc;1\r\naa;0\r\n", encoding="utf-8")
    assert read_classes(tmp_path) == ({"aa": "IPH", "bb": "IVH", "cc": "IVH"}, [])


def test_a_table_that_cannot_be_read_hides_no_fault_of_the_next(tmp_path: Path) -> None:
    (tmp_path / "train_set.csv").write_bytes(b"filename,label\n\xff,0\n")
    (tmp_path / "val_set.csv").write_text("filename,label\naa,0\nbb,7\n")
    (tmp_path / "annotion_file_info.jsonl").write_bytes(b"\xff\n")
    (tmp_path / "annotion_file_info_500.jsonl").write_text("garbage\n")
    classes, errors = read_classes(tmp_path)
    assert classes == {"aa": "IPH"}
    assert [error.code for error in errors] == ["bad-table", "unknown-class"]
    assert [error.code for error in read_lists(tmp_path)[1]] == ["bad-json", "bad-json"]
