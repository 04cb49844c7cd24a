"""The generic converter: columns found and named, channels, label names, and its refusals."""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnunet_multitask.dataset_conversion.channels import ChannelOptions
from nnunet_multitask.dataset_conversion.folder import convert
from nnunet_multitask.dataset_conversion.folder_settings import FolderSettings, add_folder_arguments
from nnunet_multitask.dataset_conversion.sources import ConversionOptions
from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, read_sidecar

HIPPOCAMPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "hippocampus"


def save(path: Path, values: int = 1) -> None:
    """Write 0, 1, ... up to ``values``; an image of another name has other voxels besides."""
    array = np.zeros((5, 4, 3), np.int16)
    array[0, 0, : values + 1] = np.arange(values + 1)
    if path.parent.name.startswith("images"):
        array[4] = zlib.crc32(path.name.split(".")[0].encode()) % 1000
    if path.parent.name == "images":
        array[4, 3, 2] = zlib.crc32(path.name.encode()) % 1000  # no two images are the same
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)


def make(tmp_path: Path, table: str, cases: Iterable[str] = "abc", ending: str = ".nii.gz") -> Path:
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
        (
            "case,c\na,x\nb,y\nc,x\n",
            {"channel_names": ["A", "B"]},
            r"expected 2 channels a case, all 3 cases have the channel 0 -> ",
        ),
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
        "the column note has 3 values in 3 rows, about one class a row: it is not taken; name it by --class-columns, "
        "or by --attribute-columns",
        "the classes 'Low' and 'low' of the column grade differ only by upper and lower case or blanks; are they one?",
        "the classes '1' and '1.0' of the column level are equal as numbers; are they one?",
    ]


def test_columns_of_many_values_are_warned_of(tmp_path: Path) -> None:
    cases = "abcdefghijklmnopqrstu"
    table = "case,c,age\n" + "".join(f"{case},{'xy'[n % 2]},{n}\n" for n, case in enumerate(cases))
    folder = run(make(tmp_path, table, cases=cases))
    assert list(read_sidecar(folder / "class_labels.json").targets) == ["c"]
    (warning,) = read_json(folder / "conversion_report.json")["warnings"]
    assert warning.startswith("the column age has 21 values, more than 20: it is not taken; name it by --class")
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
    with pytest.raises(
        InputError, match=r"expected one .csv, .tsv or .xlsx file, found classes.csv, more.csv -> .*--table"
    ):
        run(source)


@pytest.mark.parametrize(("dataset_id", "name"), [(0, "A"), (1000, "A"), (1, "../A"), (1, ""), (1, "a b")], ids=str)
def test_impossible_dataset_names(tmp_path: Path, dataset_id: int, name: str) -> None:
    with pytest.raises(InputError, match=r"\[bad-dataset-name\]"):
        convert(tmp_path, tmp_path, dataset_id=dataset_id, dataset_name=name)


def write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document))


def faults(source: Path, **options: Any) -> list[str]:
    with pytest.raises(InputErrors) as caught:
        run(source, **options)
    return [error.code for error in caught.value.errors]


def test_several_targets_groups_and_attributes(tmp_path: Path) -> None:
    table = "case;stage;sick;IPH;IVH;found;age\na;I;yes;1;0;SDH|EDH;33\nb;II;no;0;0;none;71\nc;I;;1;;;NA\n"
    table += "d;II;no;1;1;EDH;5\n"
    folder = run(
        make(tmp_path, table, cases="abcd"),
        multilabel={"kinds": ["IPH", "IVH"], "found": []},
        class_order={"stage": ["II", "I"]},
        attribute_columns=["age"],
        group_pattern="([a-d])",
    )
    sidecar = read_sidecar(folder / "class_labels.json")
    assert {name: (target.type, target.classes) for name, target in sidecar.targets.items()} == {
        "stage": ("multiclass", ("II", "I")),
        "sick": ("binary", ("no", "yes")),
        "kinds": ("multilabel", ("IPH", "IVH")),
        "found": ("multilabel", ("EDH", "SDH")),
    }
    assert sidecar.cases["a"] == Case(
        {"stage": "I", "sick": "yes", "kinds": ("IPH",), "found": ("EDH", "SDH")}, "a", attributes={"age": 33}
    )
    assert sidecar.cases["b"].labels == {"stage": "II", "sick": "no", "kinds": (), "found": ()}
    assert sidecar.cases["c"] == Case({"stage": "I"}, "c")
    report = read_json(folder / "conversion_report.json")
    assert "c: 1 of the 2 columns of kinds are known; its label of kinds is unknown" in report["warnings"]
    assert report["options"]["multilabel"] == {"kinds": ["IPH", "IVH"], "found": []}
    assert report["options"]["channel_names"] == ["MR"]


def test_raw_dataset_of_nnunet(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    source = tmp_path / "in"
    for case, part in (("a", "Tr"), ("b", "Tr"), ("c", "Ts")):
        save(source / f"images{part}" / f"{case}_0000.nii.gz")
        save(source / f"images{part}" / f"{case}_0001.nii.gz")
    for case in "ab":
        save(source / "labelsTr" / f"{case}.nii.gz", values=2)
    dataset = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "licence": "CC0",
    }
    write_json(source / "dataset.json", dataset)
    write_json(tmp_path / "grades.json", {"a": "x", "b": "y", "c": "x"})
    folder = run(source, table=tmp_path / "grades.json", channel_names=None)
    assert [path.name for path in sorted(folder.glob("*T*/*"))] == [
        "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz", "c_0000.nii.gz", "c_0001.nii.gz",
        "a.nii.gz", "b.nii.gz",
    ]  # fmt: skip
    written = read_json(folder / "dataset.json")
    assert {key: written[key] for key in dataset} == dataset
    cases = read_sidecar(folder / "class_labels.json").cases
    assert cases == {"a": Case({"class": "x"}), "b": Case({"class": "y"}), "c": Case({"class": "x"}, split="test")}
    assert read_json(folder / "conversion_report.json")["options"]["table"] == "grades.json"

    (tmp_path / "t.csv").write_text("case,k,split\na,x,train\nb,y,train\nc,x,train\n")
    with pytest.raises(InputErrors, match=r"\[split-differs\] .*c_0000.*lies in imagesTs, got 'train'"):
        run(source, table=tmp_path / "t.csv", channel_names=None, overwrite=True)

    again = tmp_path / "again"
    again.mkdir()
    settings, options = FolderSettings(), ConversionOptions(progress=False, num_workers=1)
    twin = convert(folder, again, dataset_id=7, dataset_name="Own", settings=settings, options=options).folder
    for name in ("class_labels.json", "dataset.json", "labelsTr/a.nii.gz", "imagesTs/c_0001.nii.gz"):
        assert (twin / name).read_bytes() == (folder / name).read_bytes()  # what is converted converts to itself


def test_task_of_the_decathlon(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    source = tmp_path / "in"
    arrays = {name: np.random.default_rng(seed).random((4, 5, 3, 2), np.float32) for seed, name in enumerate("abt")}
    for name, array in arrays.items():
        part = "Ts" if name == "t" else "Tr"
        (source / f"images{part}").mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), source / f"images{part}" / f"{name}.nii.gz")
    for name in "ab":
        (source / "labelsTr").mkdir(exist_ok=True)
        mask = np.ones((4, 5, 3), np.float32)
        nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), source / "labelsTr" / f"{name}.nii.gz")
    task = {
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "edema"},
        "training": [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in "ab"],
        "test": ["./imagesTs/t.nii.gz"],
    }
    write_json(source / "dataset.json", task)
    (source / "classes.tsv").write_text("id\tgrade\na\tLGG\nb\tHGG\nt\tHGG\n")
    folder = run(source, channel_names=None, classes_from_masks="shown")
    dataset = read_json(folder / "dataset.json")
    assert dataset["channel_names"] == {"0": "FLAIR", "1": "T1w"}
    assert dataset["labels"] == {"background": 0, "edema": 1}
    for name, array in arrays.items():
        part = "Ts" if name == "t" else "Tr"
        for channel in range(2):
            written = nibabel.load(folder / f"images{part}" / f"{name}_{channel:04d}.nii.gz")
            np.testing.assert_array_equal(written.dataobj, array[..., channel])
    sidecar = read_sidecar(folder / "class_labels.json")
    assert sidecar.cases["a"].labels == {"grade": "LGG", "shown": "edema"}
    assert sidecar.cases["t"].labels == {"grade": "HGG"}
    report = read_json(folder / "conversion_report.json")
    assert list(report["cases"]["a"]["inputs"]) == ["imagesTr/a.nii.gz", "labelsTr/a.nii.gz"]

    write_json(source / "dataset.json", task | {"modality": {"0": "A", "1": "B", "2": "C"}})
    with pytest.raises(InputErrors, match=r"\[missing-channel\] .*a.nii.gz: expected 3 channels, .* got 2 -> correct"):
        run(source, channel_names=None, overwrite=True)
    with pytest.raises(InputErrors, match=r"\[not-3d\] .*imagesTr/a.nii.gz: expected a 3-D image, got the shape"):
        run(source, channel_names=["A"], overwrite=True)


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


def test_cases_of_which_only_the_class_is_known(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c,split\na,x,\nb,y,\nc,x,test\nd,x,\n", cases="abcd")
    for case in "bc":
        (source / "labels" / f"{case}.nii.gz").unlink()
    assert faults(source) == ["missing-mask", "missing-mask"]
    folder = run(source, allow_label_only=True)
    assert read_json(folder / "dataset.json")["labels"] == {"background": 0, "label_1": 1, "label_2": 2, "ignore": 3}
    assert np.unique(nibabel.load(folder / "labelsTr" / "b.nii.gz").dataobj).tolist() == [3]
    assert sorted(path.name for path in folder.glob("labels*/*")) == ["a.nii.gz", "b.nii.gz", "d.nii.gz"]
    assert read_json(folder / "conversion_report.json")["counts"]["label_only"] == 1


def test_masks_without_image_and_every_fault_at_once(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\na,y\nb,y\nz,x\n")
    (source / "labels" / "b.nii.gz").rename(source / "labels" / "other.nii.gz")
    assert faults(source) == ["duplicate-case", "missing-image", "missing-row", "missing-mask", "missing-image"]


def test_classes_from_masks(tmp_path: Path) -> None:
    source = make(tmp_path, "", cases="abc")
    (source / "classes.csv").unlink()
    save(source / "labels" / "b.nii.gz", values=1)
    save(source / "labels" / "c.nii.gz", values=0)
    with pytest.raises(InputError, match=r"found none -> name the table .* by --table, or .* by --classes-from-masks"):
        run(source)
    folder = run(source, classes_from_masks="findings", label_names=["EDH", "IPH"])
    sidecar = read_sidecar(folder / "class_labels.json")
    target = sidecar.targets["findings"]
    assert (target.type, target.classes) == ("multilabel", ("EDH", "IPH"))
    assert target.present_if_label == {"EDH": (1,), "IPH": (2,)}
    assert [case.labels["findings"] for case in sidecar.cases.values()] == [("EDH", "IPH"), ("EDH",), ()]
    classes = read_json(folder / "conversion_report.json")["classes"]["training"]
    assert classes == {"findings": {"EDH": 2, "IPH": 1, "unknown": 0}}


def test_classes_from_masks_beside_those_of_a_table(tmp_path: Path) -> None:
    source = make(tmp_path, "case,patient\na,p\nb,q\nc,q\n")
    for case, values in (("a", 0), ("b", 1), ("c", 1)):
        save(source / "labels" / f"{case}.nii.gz", values)
    folder = run(source, classes_from_masks="blood", label_names=["bleeding"])
    sidecar = read_sidecar(folder / "class_labels.json")
    assert (sidecar.targets["blood"].type, sidecar.targets["blood"].classes) == ("binary", ("no bleeding", "bleeding"))
    assert sidecar.cases["a"] == Case({"blood": "no bleeding"}, "p")
    assert sidecar.cases["c"] == Case({"blood": "bleeding"}, "q")
    (source / "classes.csv").write_text("case,blood\na,x\nb,y\nc,x\n")
    with pytest.raises(InputError, match=r"\[duplicate-target\] --classes-from-masks: expected a new name, blood is"):
        run(source, classes_from_masks="blood", label_names=["bleeding"], overwrite=True)


def test_ignored_voxels_leave_the_class_unknown(tmp_path: Path) -> None:
    source = make(tmp_path, "", cases="ab")
    (source / "classes.csv").unlink()
    save(source / "labels" / "b.nii.gz", values=1)
    labels = {"background": 0, "EDH": 1, "ignore": 2}
    for kind in ("images", "labels"):
        (source / kind).rename(source / f"{kind}Tr")
    write_json(source / "dataset.json", {"labels": labels, "channel_names": {"0": "MR"}})
    folder = run(source, classes_from_masks="found", channel_names=None)
    cases = read_sidecar(folder / "class_labels.json").cases
    assert [case.labels for case in cases.values()] == [{}, {"found": "EDH"}]
    assert read_json(folder / "conversion_report.json")["warnings"] == [
        "a: its mask holds the ignore label; its label of found is unknown"
    ]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(", r"expected a regular expression, got '\('"),
        ("[abc]", "expected one part in brackets, got 0"),
        ("([ab])", r"expected '\(\[ab\]\)' in every case id, got c ->"),
    ],
)
def test_group_patterns(tmp_path: Path, pattern: str, text: str) -> None:
    source = make(tmp_path, "case,c,patient\na,x,\nb,y,\nc,x,\n")
    with pytest.raises(InputError, match=rf"\[bad-pattern\] --group-pattern: {text}"):
        run(source, group_pattern=pattern)
    (source / "classes.csv").write_text("case,c,patient\na,x,p\nb,y,\nc,x,\n")
    with pytest.raises(InputError, match=r"\[duplicate-group\] --group-pattern: .*got both"):
        run(source, group_pattern="([abc])")


def test_one_patient_and_one_image_on_both_sides(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c,patient,split\na,x,p,\nb,y,q,\nc,x,p,test\n")
    image = nibabel.load(source / "images" / "a.nii.gz")
    nibabel.save(image, source / "images" / "c.nii.gz")
    warnings = read_json(run(source) / "conversion_report.json")["warnings"]
    assert warnings[0].startswith("[group-in-two-splits] in: expected the group p in training or test, got a and c -> ")
    assert warnings[1].startswith("[duplicate-image] a (training), c (test): expected every image once")


@pytest.mark.parametrize("name", ["a b", "=cmd()", "-a", "<script>", "x" * 201], ids=lambda name: name[:8])
def test_case_ids_that_are_no_file_names(tmp_path: Path, name: str) -> None:
    source = make(tmp_path, f'case,c\n"{name}",x\nb,y\nc,x\n')
    for kind in ("images", "labels"):
        (source / kind / "a.nii.gz").rename(source / kind / f"{name}.nii.gz")
    assert faults(source) == ["unsafe-case-id"]
    assert list((tmp_path / "raw").iterdir()) == []


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


def test_class_out_of_range(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,0\nb,1\nc,2\n")
    with pytest.raises(InputErrors, match=r"\[unknown-class\] .*classes.csv: line 4: expected 0, 1 or nothing as c"):
        run(source, class_order={"c": ["0", "1"]})


def test_mixed_endings_become_one(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\nc,x\n")
    (source / "images" / "b.nii.gz").unlink()
    save(source / "images" / "b.nii")
    folder = run(source)
    assert sorted(path.name for path in (folder / "imagesTr").iterdir()) == [
        "a_0000.nii.gz", "b_0000.nii.gz", "c_0000.nii.gz",
    ]  # fmt: skip
    image = nibabel.load(folder / "imagesTr" / "b_0000.nii.gz")
    np.testing.assert_array_equal(image.dataobj, nibabel.load(source / "images" / "b.nii").dataobj)


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


def test_ages_and_lists_are_no_classes_unless_named(tmp_path: Path) -> None:
    ages, finds = (60, 61, 62, 63, 64, 60), ("EDH|IPH", "EDH|SAH", "none", "none", "EDH|IPH", "none")
    rows = [
        f"{case},{age},{kind},{find}" for case, age, kind, find in zip("abcdef", ages, "xyxyxy", finds, strict=True)
    ]
    source = make(tmp_path, "\n".join(["case,age,kind,finds", *rows]), cases="abcdef")
    folder = run(source)
    assert list(read_sidecar(folder / "class_labels.json").targets) == ["kind"]
    assert read_json(folder / "conversion_report.json")["warnings"] == [
        "the column age holds 5 numbers, as an age or a score would: it is not taken; name it by --class-columns, or "
        "by --attribute-columns",
        "the column finds holds ; or |, as lists of classes do: it is not taken; name it by --multilabel finds, or by "
        "--class-columns where such a cell is one class, or by --attribute-columns",
    ]
    folder = run(source, multilabel={"finds": ()}, attribute_columns=["age"], overwrite=True)
    sidecar = read_sidecar(folder / "class_labels.json")
    assert sidecar.targets["finds"].classes == ("EDH", "IPH", "SAH")
    assert sidecar.cases["a"].attributes == {"age": 60}
    assert read_json(folder / "conversion_report.json")["warnings"] == []
    folder = run(source, class_columns=["age"], overwrite=True)
    assert read_sidecar(folder / "class_labels.json").targets["age"].classes == ("60", "61", "62", "63", "64")


def test_faults_of_rows_names_and_files_come_together(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\nc d,x\n", cases=["a", "b", "c d", "e"])
    (source / "images" / "b.nii.gz").write_bytes(b"text")
    (source / "labels" / "a.nii.gz").write_bytes(b"text")
    (source / "labels" / "e.nii.gz").unlink()
    with pytest.raises(InputErrors) as caught:
        run(source)
    assert sorted((error.code, error.where.split("/in/")[-1]) for error in caught.value.errors) == [
        ("missing-mask", "labels/e.nii.gz"),
        ("missing-row", "images/e.nii.gz"),
        ("unsafe-case-id", "labels/c d.nii.gz"),
        ("wrong-ending", "images/b.nii.gz"),
        ("wrong-ending", "labels/a.nii.gz"),
    ]
    assert list((tmp_path / "raw").iterdir()) == []


def test_channels_that_nobody_named_are_one_fault(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\n", cases=["a_0000", "a_0001", "b_0000", "b_0001"])
    for mask in (source / "labels").iterdir():
        mask.unlink()
    with pytest.raises(
        InputError, match=r"images: expected 1 channel a case, all 2 cases have the channels 0, 1 -> "
    ) as e:
        run(source, channel_names=None)
    assert e.value.remedy.startswith("give 2 names: --channel-name A,B; ")


def test_test_images_need_no_row(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,x\nb,y\n", cases="")
    for case in "ab":
        save(source / "imagesTr" / f"{case}.nii.gz")
        save(source / "labelsTr" / f"{case}.nii.gz")
    for case in "wxyz":
        save(source / "imagesTs" / f"{case}.nii.gz")
    files = [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in "ab"]
    document = {"training": files, "test": [f"./imagesTs/{case}.nii.gz" for case in "wxyz"]}
    (source / "dataset.json").write_text(json.dumps(document))
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


@pytest.mark.parametrize("option", ["--images", "--labels"])
def test_folders_without_name_are_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_folder_arguments(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([option, ""])
    assert f"argument {option}: expected the name of a folder, got an empty text" in capsys.readouterr().err
