"""Labels from a table into a sidecar and back."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_datasets import TEST, TRAINING

from nnunet_multitask.dataset_conversion.columns import ColumnOptions
from nnunet_multitask.dataset_conversion.label_tables import Imported, ImportOptions, export_table, import_table
from nnunet_multitask.dataset_conversion.table_classes import DeclaredClasses
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, LabelSidecar, Target, read_sidecar, write_sidecar

SUBTYPE = Target("subtype", "multiclass", ("IVH", "IPH"), "kind of bleeding")
FINDINGS = Target("findings", "multilabel", ("IPH", "IVH", "SAH"), present_if_label={"IPH": (1,)})
ICH = Target("ich", "binary", ("yes", "no"))  # not in the order that a table alone would give


def make_images(folder: Path) -> Path:
    """A raw dataset of which only the names of the files matter: four training and two test cases."""
    for name, part in [(case, "Tr") for case in TRAINING] + [(case, "Ts") for case in TEST]:
        (folder / f"images{part}").mkdir(parents=True, exist_ok=True)
        (folder / f"images{part}" / f"{name}_0000.nii.gz").touch()
    (folder / "dataset.json").write_text('{"channel_names": {"0": "CT"}, "labels": {"background": 0, "x": 1}}')
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_images(tmp_path / "Dataset001_Tiny")


def table(dataset: Path, text: str) -> Path:
    path = dataset.parent / "table.csv"
    path.write_text(text)
    return path


def imported(dataset: Path, text: str, **options: Any) -> Imported:
    return import_table(dataset, table(dataset, text), ImportOptions(**options))


def refused(dataset: Path, text: str, **options: Any) -> list[str]:
    before = sorted(dataset.iterdir())
    with pytest.raises((InputError, InputErrors)) as caught:
        imported(dataset, text, **options)
    assert sorted(dataset.iterdir()) == before
    return str(caught.value).splitlines()


def test_a_first_sidecar(dataset: Path) -> None:
    rows = ["case;subtype;ich;patient;split", "a;IPH;1;P1;train", "b;IVH;0;P2;train", "c;;1;P1;val", "d;IPH;;P3;train"]
    got = imported(dataset, "\n".join([*rows, "e;IPH;1;P4;test"]))
    assert got.added == ("subtype", "ich")
    assert got.sidecar == LabelSidecar(
        {"subtype": Target("subtype", "multiclass", ("IPH", "IVH")), "ich": Target("ich", "binary", ("0", "1"))},
        {
            "a": Case({"subtype": "IPH", "ich": "1"}, "P1", "train"),
            "b": Case({"subtype": "IVH", "ich": "0"}, "P2", "train"),
            "c": Case({"ich": "1"}, "P1", "val"),
            "d": Case({"subtype": "IPH"}, "P3", "train"),
            "e": Case({"subtype": "IPH", "ich": "1"}, "P4", "test"),
        },
    )


def test_excel_gives_the_same(dataset: Path) -> None:
    text = "case,subtype\na,IPH\nb,IVH\nc,IPH\nd,IVH\n"
    book = openpyxl.Workbook()
    for row in csv.reader(text.splitlines()):
        book.active.append(row)
    book.save(dataset.parent / "table.xlsx")
    assert import_table(dataset, dataset.parent / "table.xlsx", ImportOptions()) == imported(dataset, text)
    assert imported(dataset, text.replace(",", "\t")) == imported(dataset, text)


def test_a_second_target_leaves_the_first_as_it_is(dataset: Path) -> None:
    cases = {
        "a": Case({"subtype": "IPH"}, "P1", "train", {"age_years": 33}, {"subtype": ("IPH", None)}),
        "b": Case({"subtype": "IVH"}),
        "gone": Case({"subtype": "IVH"}),
    }
    write_sidecar(LabelSidecar({"subtype": SUBTYPE}, cases), dataset / "class_labels.json")
    got = imported(
        dataset, "case,findings\na,IPH;IVH\nb,none\nc,SAH\nd,\n", columns=ColumnOptions(multilabel={"findings": ()})
    )
    assert got.sidecar.targets == {
        "subtype": SUBTYPE,
        "findings": Target("findings", "multilabel", ("IPH", "IVH", "SAH")),
    }
    assert got.sidecar.cases == {
        "a": Case(
            {"subtype": "IPH", "findings": ("IPH", "IVH")}, "P1", "train", {"age_years": 33}, {"subtype": ("IPH", None)}
        ),
        "b": Case({"subtype": "IVH", "findings": ()}),
        "c": Case({"findings": ("SAH",)}),
        "d": Case(),
        "gone": Case({"subtype": "IVH"}),
    }


def test_existing_targets_are_replaced_only_when_told_and_keep_what_they_are(dataset: Path) -> None:
    cases = {"a": Case({"subtype": "IPH", "ich": "yes"}), "b": Case({"subtype": "IPH"}), "e": Case({"subtype": "IVH"})}
    write_sidecar(LabelSidecar({"subtype": SUBTYPE, "ich": ICH}, cases), dataset / "class_labels.json")
    text = "case,subtype\na,IVH\nb,\nc,IPH\nd,IPH\n"
    (line,) = refused(dataset, text)
    assert "[already-exists]" in line
    assert "expected new targets, got subtype, which it has -> use --overwrite" in line
    got = imported(dataset, text, overwrite=True)
    assert (got.added, got.replaced) == ((), ("subtype",))
    assert got.sidecar.targets == {"subtype": SUBTYPE, "ich": ICH}  # with order and description
    assert {name: dict(case.labels) for name, case in got.sidecar.cases.items()} == {
        "a": {"subtype": "IVH", "ich": "yes"},
        "b": {},
        "c": {"subtype": "IPH"},
        "d": {"subtype": "IPH"},
        "e": {},  # the table does not name it: its old label is gone with the others
    }


def test_values_that_an_existing_target_does_not_know(dataset: Path) -> None:
    write_sidecar(LabelSidecar({"subtype": SUBTYPE}, {}), dataset / "class_labels.json")
    lines = refused(dataset, "case,subtype\na,EDH\nb,iph\nc,IPH\nd,IVH\n", overwrite=True)
    assert [line.split("]")[0] for line in lines] == ["[unknown-class", "[unknown-class"]
    assert "table.csv: line 2" in lines[0]
    declared = DeclaredClasses({"subtype": ("IPH", "IVH", "EDH")}, {})
    got = imported(dataset, "case,subtype\na,EDH\nb,IPH\nc,IPH\nd,IVH\n", overwrite=True, declared=declared)
    assert got.sidecar.targets["subtype"] == Target("subtype", "multiclass", ("IPH", "IVH", "EDH"))


def test_slices_of_a_target_with_other_classes_are_dropped_with_a_warning(dataset: Path) -> None:
    cases = {"a": Case({"subtype": "IPH"}, slices={"subtype": ("IPH",), "ich": ("yes",)})}
    write_sidecar(LabelSidecar({"subtype": SUBTYPE, "ich": ICH}, cases), dataset / "class_labels.json")
    declared = DeclaredClasses({"subtype": ("x", "y")}, {})
    got = imported(dataset, "case,subtype\na,x\nb,y\nc,x\nd,x\n", overwrite=True, declared=declared)
    assert got.sidecar.cases["a"].slices == {"ich": ("yes",)}
    assert got.warnings == ("the target subtype has other classes now: its labels of slices are dropped",)


def test_rows_and_images_that_do_not_meet(dataset: Path) -> None:
    text = "case,subtype\na,IPH\nb,IVH\nq,IPH\na,IVH\n"
    lines = refused(dataset, text)
    assert [line.split("]")[0][1:] for line in lines] == [
        "missing-image",
        "duplicate-case",
        "missing-row",
        "missing-row",
    ]
    assert "table.csv: line 5: expected each case once, a is also in line 2" in lines[1]
    got = imported(dataset, "case,subtype\na,IPH\nb,IVH\nq,IPH\n", allow_missing=True)
    assert got.sidecar.cases == {"a": Case({"subtype": "IPH"}), "b": Case({"subtype": "IVH"}), "c": Case(), "d": Case()}
    assert len(got.warnings) == 3


def test_groups_alone_and_groups_that_differ(dataset: Path) -> None:
    cases = {"a": Case({"subtype": "IPH"}, "P1"), "b": Case({"subtype": "IVH"})}
    write_sidecar(LabelSidecar({"subtype": SUBTYPE}, cases), dataset / "class_labels.json")
    text = "case,patient\na,P2\nb,P2\nc,P3\nd,P3\n"
    (line,) = refused(dataset, text)
    assert line.startswith("[other-group]")
    assert "table.csv: line 2: expected the group 'P1' that class_labels.json has for a, got 'P2'" in line
    got = imported(dataset, text, overwrite=True)
    assert {name: case.group for name, case in got.sidecar.cases.items()} == {
        "a": "P2",
        "b": "P2",
        "c": "P3",
        "d": "P3",
    }
    assert got.sidecar.cases["a"].labels == {"subtype": "IPH"}


def test_sampling_weights_come_and_go_by_their_column(dataset: Path) -> None:
    got = imported(dataset, "case,subtype,sampling_weight\na,IPH,2.5\nb,IVH,3\nc,IPH,\nd,IVH,1")
    assert {case_id: case.weight for case_id, case in got.sidecar.cases.items()} == {"a": 2.5, "b": 3, "c": 1, "d": 1}
    assert list(got.sidecar.targets) == ["subtype"]
    write_sidecar(got.sidecar, dataset / "class_labels.json")
    export_table(got.sidecar, dataset.parent / "out.csv")
    again = import_table(dataset, dataset.parent / "out.csv", ImportOptions(overwrite=True))
    assert again.sidecar == got.sidecar
    kept = imported(dataset, "case,other\na,X\nb,Y\nc,X\nd,Y")
    assert kept.sidecar.cases["a"].weight == 2.5
    only = imported(dataset, "case,sampling_weight\na,7\nb,1\nc,1\nd,1")
    assert only.sidecar.cases["a"].weight == 7
    faults = refused(dataset, "case,sampling_weight\na,0\nb,much\nc,2\nd,2")
    assert [fault.partition(":")[0] for fault in faults] == [f"[bad-weight] {dataset.parent / 'table.csv'}"] * 2
    assert "expected a number above 0 and up to a million as sampling_weight, got 'much'" in faults[1]


def test_nothing_to_import(dataset: Path) -> None:
    (line,) = refused(dataset, "case,x\na,1\nb,1\nc,1\nd,1\n")
    assert "[missing-column]" in line
    assert "expected a column of classes, groups, splits or attributes, found case, x" in line


def test_export_by_hand(tmp_path: Path) -> None:
    sidecar = LabelSidecar(
        {"subtype": SUBTYPE, "findings": FINDINGS},
        {
            "b": Case({"subtype": "IPH", "findings": ("IPH", "SAH")}, "=P1", "train", {"age_years": 3, "note": "-"}),
            "a": Case({"findings": ()}, slices={"findings": ((), None)}),
        },
    )
    warnings = export_table(sidecar, tmp_path / "labels.csv")
    assert (tmp_path / "labels.csv").read_text().splitlines() == [
        "case_id,split,group,subtype,findings,attributes.age_years,attributes.note",
        "a,,,,none,,",
        "b,train,'=P1,IPH,IPH;SAH,3,'-",
    ]
    assert warnings == ["the labels of slices are not in this table: export them by --slices"]


def test_classes_that_a_table_cannot_hold_are_named(tmp_path: Path) -> None:
    odd = LabelSidecar(
        {"t": Target("t", "multiclass", ("NA", "b;c")), "m": Target("m", "multilabel", ("None", "x|y"))}, {}
    )
    warnings = export_table(odd, tmp_path / "labels.csv")
    assert [text.split("cannot")[0] for text in warnings] == [
        "the class 'NA' of t ", "the class 'None' of m ", "the class 'x|y' of m "
    ]  # fmt: skip


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc",), exclude_characters=";|"), min_size=1, max_size=8
)
CLASSES = NAMES.map(str.strip).filter(
    lambda name: name.lower() not in ("", "na", "n/a", "nan", "null", "?", "unknown", "none", "-", "[]")
)


@st.composite
def sidecars(draw: st.DrawFn) -> LabelSidecar:
    """Sidecars whose tables hold everything but labels of slices."""
    targets = {}
    for name in draw(st.lists(st.sampled_from(("grade", "t-2", "X_3")), min_size=1, unique=True)):
        kind = draw(st.sampled_from(("binary", "multiclass", "multilabel")))
        classes = draw(st.lists(CLASSES, min_size=2, max_size=2 if kind == "binary" else 4, unique=True))
        targets[name] = Target(name, kind, tuple(classes), "d")
    cases = {}
    for case_id in (*TRAINING, *draw(st.sets(st.sampled_from(sorted(TEST))))):
        labels = {}
        for name, target in targets.items():
            one = st.sampled_from(target.classes)
            some = st.sets(one).map(lambda found, target=target: tuple(c for c in target.classes if c in found))
            label = draw(st.none() | (some if target.type == "multilabel" else one))
            labels |= {} if label is None else {name: label}
        cases[case_id] = Case(
            labels,
            draw(st.none() | CLASSES),
            draw(st.none() | st.sampled_from(("train", "val", "test"))),
            draw(st.dictionaries(st.sampled_from(("age", "note")), st.integers(-5, 5) | CLASSES, max_size=2)),
        )
    return LabelSidecar(targets, cases)


def test_classes_that_look_like_numbers_come_back(dataset: Path) -> None:
    targets = {"t": Target("t", "multiclass", ("1.0", "2.0")), "m": Target("m", "multilabel", ("1.0", "007"))}
    cases = {name: Case({"t": "2.0", "m": ("1.0", "007")}) for name in TRAINING}
    write_sidecar(LabelSidecar(targets, cases), dataset / "class_labels.json")
    export_table(LabelSidecar(targets, cases), dataset / "labels.csv")
    back = import_table(dataset, dataset / "labels.csv", ImportOptions(overwrite=True))
    assert back.sidecar == LabelSidecar(targets, cases)


@settings(deadline=None, max_examples=40)
@given(sidecar=sidecars())
def test_what_is_exported_comes_back(sidecar: LabelSidecar, tmp_path_factory: pytest.TempPathFactory) -> None:
    dataset = make_images(tmp_path_factory.mktemp("dataset"))
    write_sidecar(sidecar, dataset / "class_labels.json")
    export_table(sidecar, dataset / "labels.csv")
    back = import_table(dataset, dataset / "labels.csv", ImportOptions(overwrite=True))
    assert back.sidecar == sidecar
    assert back.added == ()
    write_sidecar(back.sidecar, dataset / "class_labels.json")
    assert read_sidecar(dataset / "class_labels.json") == sidecar
