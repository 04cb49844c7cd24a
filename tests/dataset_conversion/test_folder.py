"""The generic converter: columns found and named, channels, label names, and its refusals."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnunet_multitask.dataset_conversion.folder import convert
from nnunet_multitask.dataset_conversion.folder_settings import FolderSettings
from nnunet_multitask.dataset_conversion.sources import ConversionOptions
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, read_sidecar

HIPPOCAMPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "hippocampus"


def save(path: Path, values: int = 1) -> None:
    array = np.zeros((5, 4, 3), np.int16)
    array[0, 0, : values + 1] = np.arange(values + 1)
    if path.parent.name == "images":
        array[4, 3, 2] = zlib.crc32(path.name.encode()) % 1000  # no two images are the same
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)


def make(tmp_path: Path, table: str, cases: str = "abc", ending: str = ".nii.gz") -> Path:
    for case in cases:
        save(tmp_path / "in" / "images" / f"{case}{ending}")
        save(tmp_path / "in" / "labels" / f"{case}{ending}", values=2)
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in" / "classes.csv").write_text(table)
    (tmp_path / "raw").mkdir()
    return tmp_path / "in"


def run(source: Path, **options: Any) -> Path:
    options = {"channel_names": ["MR"]} | options
    chosen = ConversionOptions(overwrite=options.pop("overwrite", False), progress=False, num_workers=1)
    settings = FolderSettings(**options)
    raw_dir = source.parent / "raw"
    return convert(source, raw_dir, dataset_id=7, dataset_name="Own", settings=settings, options=chosen).folder


def test_columns_are_found(tmp_path: Path) -> None:
    table = "Patient;case;grade;malignant;note;split\np1;a;high;1;one;train\np1;b;low;0;;train\np2;c;;1;;Test\n"
    folder = run(make(tmp_path, table))
    sidecar = read_sidecar(folder / "class_labels.json")
    assert {name: (target.type, target.classes) for name, target in sidecar.targets.items()} == {
        "grade": ("multiclass", ("high", "low")),
        "malignant": ("binary", ("0", "1")),
    }
    assert sidecar.cases == {
        "a": Case({"grade": "high", "malignant": "1"}, "p1", "train"),
        "b": Case({"grade": "low", "malignant": "0"}, "p1", "train"),
        "c": Case({"malignant": "1"}, "p2", "Test"),
    }
    assert sorted(path.name for path in (folder / "imagesTs").iterdir()) == ["c_0000.nii.gz"]
    assert sorted(path.name for path in (folder / "labelsTs").iterdir()) == ["c.nii.gz"]
    dataset = read_json(folder / "dataset.json")
    assert dataset["labels"] == {"background": 0, "label_1": 1, "label_2": 2}
    assert dataset["channel_names"] == {"0": "MR"}
    assert dataset["numTraining"] == 2


def test_columns_are_named(tmp_path: Path) -> None:
    table = "who,what,other,fold,person\na.nii.gz,x,1,Tr,p\nb,y,2,testing,p\nc,x,1,Validation,q\n"
    folder = run(
        make(tmp_path, table),
        case_column="who",
        class_columns=["what"],
        split_column="fold",
        group_column="person",
        label_names=["anterior", "posterior"],
    )
    sidecar = read_sidecar(folder / "class_labels.json")
    assert list(sidecar.targets) == ["what"]
    assert sidecar.cases["a"] == Case({"what": "x"}, "p", "Tr")
    assert sidecar.cases["b"].split == "testing"
    assert [path.name for path in (folder / "imagesTs").iterdir()] == ["b_0000.nii.gz"]
    assert read_json(folder / "dataset.json")["labels"] == {"background": 0, "anterior": 1, "posterior": 2}


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


def test_other_endings_are_kept(tmp_path: Path) -> None:
    folder = run(make(tmp_path, "case,c\na,x\nb,y\nc,y\n", ending=".nii"))
    assert (folder / "imagesTr" / "a_0000.nii").exists()
    assert read_json(folder / "dataset.json")["file_ending"] == ".nii"


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


@pytest.mark.parametrize(
    ("table", "options", "text"),
    [
        ("case,c\na,x\na,y\nb,x\nc,y\n", {}, r"line 3: expected each case once, a is also in line 2"),
        ("what,c\na,x\n", {}, r"cases named case_id or case .*, found the columns what, c -> name it by --case-column"),
        ("case,c\na,x\nb,x\nc,x\n", {}, r"expected a column of classes with 2 to 20 values, found the columns case, c"),
        ("case,c\na,x\nb,y\nc,x\n", {"class_columns": ["d"]}, r"expected the column d, found the columns case, c ->"),
        (
            "case\na\n",
            {"class_columns": ["d", "case"], "split_column": "e"},
            r"expected the columns e, d, found the column case ->",
        ),
        (
            "case,c,split\na,x,dev\nb,y,\nc,x,7\n",
            {},
            r"\[unknown-split\] .*train/training/tr, val/validation, test/testing/ts or nothing in the column of "
            r"splits split, got 'dev' \(line 2\), '7' \(line 4\) ->",
        ),
        ("case,c\na,x\nb,y\nc,x\n", {"label_names": ["l", "l"]}, r"\[duplicate-label\] .*got l twice"),
        ("case,c\na,x\nb,y\nc,x\n", {"label_names": ["background", "l"]}, r"\[duplicate-label\] .*got background"),
        ("case,c\na_0000,x\nb,y\nc,x\n", {}, r"image of 'a_0000', found none .*_0000 at the end of an image name"),
        ("case,c\na,x\nb,y\nc,x\n", {"label_names": ["one"]}, r"\[unknown-mask-value\] .*got 2 \(1 voxels\)"),
        ("case,c\na,x\nb,y\nc,x\n", {"channel_names": ["A", "B"]}, r"expected the channels 0 to 1 of a, got \[0\]"),
        ("case,c,split\na,x,test\nb,y,test\nc,x,test\n", {}, r"\[no-training-case\]"),
    ],
)
def test_refusals_write_nothing(tmp_path: Path, table: str, options: dict[str, Any], text: str) -> None:
    source = make(tmp_path, table)
    with pytest.raises((InputError, InputErrors), match=text):
        run(source, **options)
    assert list((tmp_path / "raw").iterdir()) == []


def test_unknown_values_in_any_spelling(tmp_path: Path) -> None:
    table = "case,c,patient\na,x,n/a\nb,y,NA\nc,NA,p\nd,n/A,p\ne,NaN,\nf,NULL,\ng,?,\nh,Unknown,\ni,,\nj,x,\n"
    sidecar = read_sidecar(run(make(tmp_path, table, cases="abcdefghij")) / "class_labels.json")
    assert sidecar.targets["c"].classes == ("x", "y")
    assert [case for case in sidecar.cases if sidecar.cases[case].labels] == ["a", "b", "j"]
    assert [case for case in sidecar.cases if sidecar.cases[case].group] == ["c", "d"]


def test_doubtful_columns_are_warned_of(tmp_path: Path) -> None:
    table = "case,grade,level,note\na,Low,1,one\nb,low,1.0,two\nc,low,1,three\n"
    assert read_json(run(make(tmp_path, table)) / "conversion_report.json")["warnings"] == [
        "the column note has as many classes as rows (3) and is probably no column of classes; name the columns of "
        "classes by --class-columns",
        "the classes 'Low' and 'low' of the column grade differ only by upper and lower case or blanks; are they one?",
        "the classes '1' and '1.0' of the column level are equal as numbers; are they one?",
    ]


def test_columns_of_many_values_are_warned_of(tmp_path: Path) -> None:
    cases = "abcdefghijklmnopqrstu"
    table = "case,c,age\n" + "".join(f"{case},{'xy'[n % 2]},{n}\n" for n, case in enumerate(cases))
    folder = run(make(tmp_path, table, cases=cases))
    assert list(read_sidecar(folder / "class_labels.json").targets) == ["c"]
    (warning,) = read_json(folder / "conversion_report.json")["warnings"]
    assert warning.startswith("the column age has 21 values, more than 20: it is taken for no column of classes")
    folder = run(tmp_path / "in", class_columns=["c"], overwrite=True)
    assert read_json(folder / "conversion_report.json")["warnings"] == []


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


def test_shape_that_differs_refuses(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\nc,x\n")
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 4, 2), np.int16), np.eye(4)), source / "labels" / "b.nii.gz")
    with pytest.raises(InputErrors, match=r"\[shape-differs\] .*labels/b.nii.gz"):
        run(source)


def test_missing_mask_and_several_tables(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\nc,x\n")
    (source / "labels" / "b.nii.gz").unlink()
    with pytest.raises(InputErrors, match=r"\[missing-mask\] .*labels/b.nii.gz"):
        run(source)
    (source / "more.csv").touch()
    with pytest.raises(InputError, match=r"expected one .csv or .tsv file, found classes.csv, more.csv -> .*--table"):
        run(source)


@pytest.mark.parametrize(("dataset_id", "name"), [(0, "A"), (1000, "A"), (1, "../A"), (1, ""), (1, "a b")], ids=str)
def test_impossible_dataset_names(tmp_path: Path, dataset_id: int, name: str) -> None:
    with pytest.raises(InputError, match=r"\[bad-dataset-name\]"):
        convert(tmp_path, tmp_path, dataset_id=dataset_id, dataset_name=name)


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason=f"the sample data are absent: {HIPPOCAMPUS}")
def test_hippocampus(tmp_path: Path) -> None:
    folder = convert(
        HIPPOCAMPUS,
        tmp_path,
        dataset_id=4,
        dataset_name="Hippocampus",
        settings=FolderSettings(label_names=["anterior", "posterior"], channel_names=["MR"]),
        options=ConversionOptions(progress=False, num_workers=1),
    ).folder
    assert read_json(folder / "conversion_report.json")["counts"] == {
        "training": 60,
        "test": 20,
        "label_only": 0,
        "repaired": 0,
        "excluded": 0,
    }
    sidecar = read_sidecar(folder / "class_labels.json")
    assert list(sidecar.targets) == ["volume_class"]
    # the class is defined by the volume of both labels
    for case_id in ("hippocampus_004", "hippocampus_015"):
        mask = nibabel.load(folder / "labelsTr" / f"{case_id}.nii.gz")
        small = np.count_nonzero(np.asarray(mask.dataobj)) <= 3326
        assert sidecar.cases[case_id].labels["volume_class"] == ("small" if small else "large")
