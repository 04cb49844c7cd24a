"""The generic converter: the table is found, read however it was saved, and matched with the images."""

from __future__ import annotations

from pathlib import Path

import pytest
from folder_source import faults, make, run, save

from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import read_sidecar


def test_rows_and_images_that_do_not_match(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nz,y\nb,y\n")
    with pytest.raises(InputErrors) as caught:
        run(source)
    assert [(error.code, error.where.split("/")[-1]) for error in caught.value.errors] == [
        ("missing-image", "classes.csv: line 3"),
        ("missing-row", "c.nii.gz"),
    ]
    folder = run(source, allow_missing=True)
    assert read_sidecar(folder / "class_labels.json").cases["c"].labels == {}
    assert read_json(folder / "conversion_report.json")["warnings"] == [
        "line 3 of the table: there is no image of 'z'; it is passed over",
        "c: the table does not name it; its class is unknown",
    ]


def test_missing_mask_and_several_tables(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\nc,x\n")
    (source / "labels" / "b.nii.gz").unlink()
    with pytest.raises(InputErrors, match=r"\[missing-mask\] .*labels/b.nii.gz"):
        run(source)
    (source / "more.csv").touch()
    with pytest.raises(
        InputError, match=r"expected one .csv, .tsv or .xlsx file, found classes.csv, more.csv -> .*--table"
    ):
        run(source)


def test_options_on_columns_with_a_sidecar(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\nc,x\n")
    sidecar = run(source) / "class_labels.json"
    with pytest.raises(InputError, match=r"\[needless-option\] .*class_labels.json: .* got --class-columns, --binary"):
        run(source, table=sidecar, class_columns=["c"], binary={"c": ("x", "y")}, overwrite=True)
    (source / "class_labels.json").write_bytes(sidecar.read_bytes())
    with pytest.raises(
        InputError, match=r"expected one .csv, .tsv or .xlsx file, found class_labels.json, classes.csv"
    ):
        run(source, overwrite=True)


@pytest.mark.parametrize("name", ["../../raw/evil", "/evil", "a\x1bb", "x" * 255])
def test_case_ids_of_a_table_write_nothing(tmp_path: Path, name: str) -> None:
    source = make(tmp_path, f'case,c\na,x\nb,y\nc,x\n"{name}",x\n')
    assert faults(source) == ["missing-image"]
    folder = run(source, allow_missing=True)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == [folder.name]
    assert sorted(read_sidecar(folder / "class_labels.json").cases) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("table", "sick"),
    [
        (b"\xef\xbb\xbfcase;sick\r\na; 1.0 \r\nb;0.0;\r\nc;\r\n", ["1", "0", None]),
        (b"case\tsick\na\t1\nb\t0\nc\tNaN\n\n", ["1", "0", None]),
    ],
)
def test_tables_as_people_save_them(tmp_path: Path, table: bytes, sick: list[str | None]) -> None:
    source = make(tmp_path, "")
    (source / "classes.csv").write_bytes(table)
    sidecar = read_sidecar(run(source) / "class_labels.json")
    assert sidecar.targets["sick"].type == "binary"
    assert [case.labels.get("sick") for case in sidecar.cases.values()] == sick


def test_test_images_need_no_row(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\n", cases="")
    for case in "ab":
        save(source / "imagesTr" / f"{case}.nii.gz")
        save(source / "labelsTr" / f"{case}.nii.gz")
    for case in "wxyz":
        save(source / "imagesTs" / f"{case}.nii.gz")
    files = [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in "ab"]
    document = {"training": files, "test": [f"./imagesTs/{case}.nii.gz" for case in "wxyz"]}
    write_json(source / "dataset.json", document)
    folder = run(source)
    assert len(list((folder / "imagesTs").iterdir())) == 4
    assert read_json(folder / "conversion_report.json")["warnings"] == [
        "4 test images without row in classes.csv, of unknown class: w, x, y, ..."
    ]


def test_a_workbook_is_found(tmp_path: Path) -> None:
    import openpyxl

    source = make(tmp_path, "")
    (source / "classes.csv").unlink()
    with pytest.raises(
        InputError, match=r"expected one .csv, .tsv or .xlsx file, found none -> .*CSV, TSV, Excel, JSON"
    ):
        run(source)
    book = openpyxl.Workbook()
    for row in (("case", "c"), ("a", "x"), ("b", "y"), ("c", "x")):
        book.active.append(row)
    book.save(source / "r.xlsx")
    (source / "~$r.xlsx").touch()
    assert read_sidecar(run(source) / "class_labels.json").targets["c"].classes == ("x", "y")
