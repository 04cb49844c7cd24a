"""Targets and labels from rows: types, order, lists, columns of 0 and 1, and values that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_multitask.dataset_conversion.columns import Columns
from nnunet_multitask.dataset_conversion.table_classes import ClassTable, DeclaredClasses, read_classes
from nnunet_multitask.dataset_conversion.tables import Row
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, Target

PATH = Path("t.csv")
NOTHING = DeclaredClasses({}, {})


def read(columns: Columns, *values: dict[str, str], declared: DeclaredClasses = NOTHING) -> ClassTable:
    rows = {"abcdefgh"[index]: Row(index + 2, {"case": "", **row}) for index, row in enumerate(values)}
    return read_classes(PATH, columns, rows, declared)


def column(*values: str, declared: DeclaredClasses = NOTHING, multilabel: bool = False) -> ClassTable:
    columns = Columns("case", (), {"c": ("c",)}) if multilabel else Columns("case", ("c",))
    return read(columns, *({"c": value} for value in values), declared=declared)


def labels(table: ClassTable) -> list[object]:
    return [case.labels.get("c") for case in table.cases.values()]


@pytest.mark.parametrize(
    ("values", "kind", "classes"),
    [
        (["1", "0", "1", ""], "binary", ("0", "1")),
        (["yes", "no", "NA"], "binary", ("no", "yes")),
        (["Positive", "Negative"], "binary", ("Negative", "Positive")),
        (["IVH", "IPH"], "multiclass", ("IPH", "IVH")),
        (["2", "0", "1"], "multiclass", ("0", "1", "2")),
        (["1"], "multiclass", ("1",)),
    ],
)
def test_types_of_targets(values: list[str], kind: str, classes: tuple[str, ...]) -> None:
    table = column(*values)
    assert table.targets["c"] == Target("c", kind, classes)  # type: ignore[arg-type]
    assert labels(table) == [None if value in ("", "NA") else value for value in values]


def test_whole_numbers_with_a_point() -> None:
    """Tables written by pandas hold 1.0 where a value of the column is missing."""
    table = column("1.0", "0.0", "")
    assert table.targets["c"] == Target("c", "binary", ("0", "1"))
    assert labels(table) == ["1", "0", None]
    assert table.warnings == ("the column c holds 0.0, 1.0: read as whole numbers",)
    assert column("1.0", "1", "0").targets["c"].classes == ("0", "1", "1.0")  # mixed spelling: said by find_columns
    assert column("1.5", "0.0").targets["c"].classes == ("0.0", "1.5")


def test_declared_classes() -> None:
    declared = DeclaredClasses({"c": ("low", "mid", "high")}, {})
    table = column("high", "low", "?", declared=declared)
    assert table.targets["c"] == Target("c", "multiclass", ("low", "mid", "high"))
    with pytest.raises(InputErrors) as caught:
        column("high", "lwo", "7", declared=declared)
    assert [str(error) for error in caught.value.errors] == [
        "[unknown-class] t.csv: line 3: expected low, mid, high or nothing as c, got 'lwo' -> did you mean 'low'?",
        "[unknown-class] t.csv: line 4: expected low, mid, high or nothing as c, got '7' -> correct the value, or "
        "declare the class",
    ]


def test_declared_positive_class() -> None:
    table = column("sick", "healthy", declared=DeclaredClasses({}, {"c": ("healthy", "sick")}))
    assert table.targets["c"] == Target("c", "binary", ("healthy", "sick"))
    with pytest.raises(InputErrors, match="line 4: expected healthy, sick or nothing as c, got 'ill'"):
        column("sick", "healthy", "ill", declared=DeclaredClasses({}, {"c": ("healthy", "sick")}))


@pytest.mark.parametrize(
    ("declared", "option"),
    [
        (DeclaredClasses({"d": ("x",)}, {}), "--class-order: .* got d"),
        (DeclaredClasses({}, {"d": ("x", "y")}), "--binary: .* got d"),
        (DeclaredClasses({"c": ("x", "y")}, {"c": ("x", "y")}), "--class-order: .* got c"),
    ],
)
def test_declared_classes_of_no_target(declared: DeclaredClasses, option: str) -> None:
    with pytest.raises(InputError, match=rf"\[unknown-target\] {option}"):
        column("x", "y", declared=declared)


def test_cells_that_list_classes() -> None:
    table = column("SDH; IPH", "IPH|IPH|", "none", "-", "", "unknown", multilabel=True)
    assert table.targets["c"] == Target("c", "multilabel", ("IPH", "SDH"))
    assert labels(table) == [("IPH", "SDH"), ("IPH",), (), (), None, None]
    declared = DeclaredClasses({"c": ("SDH", "EDH", "IPH")}, {})
    table = column("IPH;SDH", declared=declared, multilabel=True)
    assert table.targets["c"].classes == ("SDH", "EDH", "IPH")
    assert labels(table) == [("SDH", "IPH")]
    with pytest.raises(InputErrors, match="line 2: expected SDH, EDH, IPH or nothing as c, got 'SAH'"):
        column("IPH;SAH", declared=declared, multilabel=True)


def test_columns_of_0_and_1() -> None:
    columns = Columns("case", (), {"f": ("IVH", "IPH")})
    table = read(
        columns,
        {"IVH": "1.0", "IPH": "0"},
        {"IVH": "1.0", "IPH": "1"},
        {"IVH": "", "IPH": "1"},
        {"IVH": "", "IPH": "NA"},
        {"IVH": "0.0", "IPH": "0"},
    )
    assert table.targets == {"f": Target("f", "multilabel", ("IVH", "IPH"))}
    assert [case.labels.get("f") for case in table.cases.values()] == [("IVH",), ("IVH", "IPH"), None, None, ()]
    assert table.warnings == (
        "the column IVH holds 0.0, 1.0: read as whole numbers",
        "c: 1 of the 2 columns of f are known; its label of f is unknown",
    )


def test_columns_of_something_else() -> None:
    with pytest.raises(InputErrors) as caught:
        read(Columns("case", (), {"f": ("x", "y")}), {"x": "1", "y": "2"}, {"x": "yes", "y": ""})
    assert [str(error) for error in caught.value.errors] == [
        "[unknown-class] t.csv: line 2: expected 0, 1 or nothing in the column y, got '2' -> correct the value",
        "[unknown-class] t.csv: line 3: expected 0, 1 or nothing in the column x, got 'yes' -> correct the value",
    ]


def test_groups_splits_and_attributes() -> None:
    columns = Columns("case", (), {}, "set", "patient", ("age", "site", "score", "code"))
    table = read(
        columns,
        {"set": "Train", "patient": "p", "age": "33", "site": "A", "score": "0.5", "code": "007"},
        {"set": "", "patient": "NA", "age": "", "site": "7", "score": "2", "code": "12"},
    )
    assert list(table.cases.values()) == [
        Case({}, "p", "Train", {"age": 33, "site": "A", "score": 0.5, "code": "007"}),
        Case({}, None, None, {"site": "7", "score": 2, "code": "12"}),
    ]


def test_no_rows() -> None:
    table = read(Columns("case", ("c",)))
    assert table == ClassTable({"c": Target("c", "multiclass", ())}, {})
