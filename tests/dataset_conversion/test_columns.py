"""What columns mean: by name, by value, by option. (test_folder_columns has most, through the converter.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_multitask.dataset_conversion.columns import ColumnOptions, Columns, as_number, find_columns, split_of
from nnunet_multitask.dataset_conversion.tables import Row
from nnunet_multitask.errors import InputError

PATH = Path("t.csv")
NAMES = ["scan", "patient", "set", "kind", "IPH", "IVH", "age"]
ROWS = [
    Row(2, dict(zip(NAMES, ["a", "p", "train", "x", "0", "1", "33"], strict=True))),
    Row(3, dict(zip(NAMES, ["b", "p", "test", "y", "1", "1", "71"], strict=True))),
    Row(4, dict(zip(NAMES, ["c", "q", "", "x", "0", "0", "NA"], strict=True))),
]


def test_everything_is_found() -> None:
    columns = find_columns(PATH, NAMES, ROWS, ColumnOptions())
    assert columns.classes == ("kind", "IPH", "IVH", "age")
    assert (columns.case, columns.split, columns.group) == ("scan", "set", "patient")
    assert columns.warnings == ()


def test_columns_with_another_use_are_no_classes() -> None:
    options = ColumnOptions(multilabel={"findings": ("IPH", "IVH")}, attributes=("age",))
    assert find_columns(PATH, NAMES, ROWS, options) == Columns(
        "scan", ("kind",), {"findings": ("IPH", "IVH")}, "set", "patient", ("age",)
    )


def test_multilabel_column_of_its_own_name() -> None:
    columns = find_columns(PATH, NAMES, ROWS, ColumnOptions(multilabel={"kind": ()}, classes=["IPH"]))
    assert (columns.classes, columns.multilabel) == (("IPH",), {"kind": ("kind",)})


def test_lists_of_json_are_multilabel() -> None:
    rows = [Row(1, {"case": "a", "found": "x;y"}, "entry", frozenset({"found"})), Row(2, {"case": "b", "found": ""})]
    assert find_columns(PATH, ["case", "found"], rows, ColumnOptions()).multilabel == {"found": ("found",)}


def test_cells_that_list_classes_are_noticed() -> None:
    rows = [Row(2, {"case": "a", "f": "x;y"}), Row(3, {"case": "b", "f": "x"}), Row(4, {"case": "c", "f": "x"})]
    (warning,) = find_columns(PATH, ["case", "f"], rows, ColumnOptions(classes=["f"])).warnings
    assert warning == "the column f holds ; or |: where a cell lists several classes, say --multilabel f"
    with pytest.raises(InputError, match=r"\[missing-column\] .*the column f holds ; or |, .* --multilabel f"):
        find_columns(PATH, ["case", "f"], rows, ColumnOptions())


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ("x y x y", True),
        ("x y z x y z", True),
        ("x y z x y", False),  # three classes of five rows
        ("x y z", False),
        ("x y", True),
        ("0 1 1", True),
        ("1 2 3 1 2 3 1 2 3", False),
        ("1.5 2 -3 1.5 2 -3", False),
        ("1 2 high 1 2 high", True),
        ("x|y z x|y z", False),
    ],
)
def test_what_is_taken_without_being_named(values: str, taken: bool) -> None:
    rows = [Row(2, {"case": str(index), "f": value}) for index, value in enumerate(values.split())]
    columns = find_columns(PATH, ["case", "f"], rows, ColumnOptions(), need_classes=False)
    assert (columns.classes, len(columns.warnings)) == ((("f",), 0) if taken else ((), 1))
    assert find_columns(PATH, ["case", "f"], rows, ColumnOptions(), known=["f"]).classes == ("f",)


def test_one_class_only() -> None:
    rows = [Row(2, {"case": "a", "f": "x"}), Row(3, {"case": "b", "f": "x"})]
    (warning,) = find_columns(PATH, ["case", "f"], rows, ColumnOptions(classes=["f"])).warnings
    assert warning == "the column f holds one class only, 'x': nothing can be learned from it"


def test_no_classes_may_be_needed() -> None:
    rows = [Row(2, {"case": "a"})]
    with pytest.raises(InputError, match=r"\[missing-column\] t.csv: expected a column of classes"):
        find_columns(PATH, ["case"], rows, ColumnOptions())
    assert find_columns(PATH, ["case"], rows, ColumnOptions(), need_classes=False) == Columns("case", ())


def test_two_meanings_of_a_column() -> None:
    with pytest.raises(InputError, match=r"\[duplicate-target\] .*expected one meaning for the column kind, got"):
        find_columns(PATH, NAMES, ROWS, ColumnOptions(classes=["kind"], multilabel={"kind": ()}))


def test_columns_of_options_must_exist() -> None:
    options = ColumnOptions(multilabel={"f": ("IPH", "SAH")}, attributes=("sex",))
    with pytest.raises(InputError, match=r"expected the columns SAH, sex, found the columns scan, "):
        find_columns(PATH, NAMES, ROWS, options)


@pytest.mark.parametrize(
    ("word", "split"),
    [("Train", "train"), ("TR", "train"), ("validation", "val"), ("ts", "test"), ("", None), (None, None), ("7", None)],
)
def test_words_of_splits(word: str | None, split: str | None) -> None:
    assert split_of(word) == split


@pytest.mark.parametrize(
    ("text", "number"), [("1.0", 1.0), ("-2e3", -2000.0), ("nan", None), ("inf", None), ("x", None), ("1_0", None)]
)
def test_numbers(text: str, number: float | None) -> None:
    assert as_number(text) == number
