"""The generic converter: which columns of a table are classes, groups and attributes, and of what it warns."""

from __future__ import annotations

from pathlib import Path

import pytest
from folder_source import make, run

from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, read_sidecar


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


def test_class_out_of_range(tmp_path: Path) -> None:
    source = make(tmp_path, "case,c\na,0\nb,1\nc,2\n")
    with pytest.raises(InputErrors, match=r"\[unknown-class\] .*classes.csv: line 4: expected 0, 1 or nothing as c"):
        run(source, class_order={"c": ["0", "1"]})


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
