"""Tables with a row for each slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from raw_datasets import TRAINING, make_dataset

from nnunet_multitask.dataset_conversion.columns import ColumnOptions
from nnunet_multitask.dataset_conversion.label_tables import Imported, ImportOptions, export_slices, import_table
from nnunet_multitask.dataset_conversion.slice_tables import case_label
from nnunet_multitask.dataset_conversion.verification import verify_dataset
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case, Label, LabelSidecar, Target, write_sidecar

FINDINGS = ColumnOptions(multilabel={"findings": ("IVH", "EDH")})


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(tmp_path)


def imported(dataset: Path, lines: list[str], **options: Any) -> Imported:
    table = dataset.parent / "slices.csv"
    table.write_text("\n".join(["patient,scan,slice,IVH,EDH,fracture", *lines]))
    options = {"columns": FINDINGS, "slice_column": "slice", "first_slice": 1, **options}
    return import_table(dataset, table, ImportOptions(**options))


def rows(case: str, *slices: str) -> list[str]:
    return [f"P{case},{case},{index},{values}" for index, values in enumerate(slices, 1)]


def sound() -> list[str]:
    """Four slices a case: a has both findings, b none, c one slice unknown, d has its slices from below."""
    return [
        *rows("a", "0,0,0", "1,0,0", "1,1,1", "0,0,0"),
        *rows("b", "0,0,0", "0,0,0", "0,0,0", "0,0,0"),
        *rows("c", "0,0,0", ",,", "1,0,1", "0,0,0"),
        *reversed(rows("d", "0,0,1", "0,1,0", "0,0,0", "0,0,0")),
    ]


def test_slices_and_what_they_say_of_the_case(dataset: Path) -> None:
    got = imported(dataset, sound(), overwrite=True)  # with other patients than the sidecar has
    assert got.added == ("fracture", "findings")
    cases = got.sidecar.cases
    assert cases["a"].slices["findings"] == ((), ("IVH",), ("IVH", "EDH"), ())
    assert cases["a"].slices["fracture"] == ("0", "0", "1", "0")
    assert cases["a"].labels == {"subtype": "IPH", "findings": ("IVH", "EDH"), "fracture": "1"}
    assert cases["b"].labels == {"subtype": "IVH", "findings": (), "fracture": "0"}
    assert cases["c"].slices["findings"] == ((), None, ("IVH",), ())
    assert cases["c"].labels == {"subtype": "IPH", "fracture": "1"}  # positive for sure; the findings are not
    assert cases["d"].slices["fracture"] == ("1", "0", "0", "0")
    assert cases["d"].group == "Pd"


def test_verify_takes_them(dataset: Path) -> None:
    options = {"overwrite": True}
    write_sidecar(imported(dataset, sound(), **options).sidecar, dataset / "class_labels.json")
    result = verify_dataset(dataset, num_workers=1, progress=False)
    assert result.errors == []
    assert [warning.code for warning in result.warnings] == ["unknown-labels"]
    write_sidecar(imported(dataset, sound()[:-1], **options).sidecar, dataset / "class_labels.json")
    assert verify_dataset(dataset, num_workers=1, progress=False).errors == []  # slice 1 of d is unknown now
    write_sidecar(imported(dataset, [*sound(), "Pa,a,5,0,0,0"], **options).sidecar, dataset / "class_labels.json")
    found = verify_dataset(dataset, num_workers=1, progress=False).errors
    assert [e.code for e in found] == ["slice-count", "slice-count"]
    assert found[0].fault == "expected a label for each of the 4 axial slices, got 5"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "Pa,a,0,0,0,0",
            "[bad-row] TABLE: line 18: expected a number from 1 on in the column of slices slice, got '0'",
        ),
        (
            "Pa,a,x,0,0,0",
            "[bad-row] TABLE: line 18: expected a number from 1 on in the column of slices slice, got 'x'",
        ),
        ("Pa,a,4,0,0,0", "[duplicate-slice] TABLE: line 18: expected each slice once, that of a is also in line 5"),
        ("P9,a,5,0,0,0", "[other-group] TABLE: line 18: expected the group 'Pa' of line 2 for a, got 'P9'"),
        ("Pa,a,5,2,0,0", "[unknown-class] TABLE: line 18: expected 0, 1 or nothing in the column IVH, got '2'"),
        ("Pq,q,1,0,0,0", "[missing-image] TABLE: line 18: expected an image of 'q', found none"),
    ],
)
def test_refused(dataset: Path, line: str, text: str) -> None:
    with pytest.raises((InputError, InputErrors)) as caught:
        imported(dataset, [*sound(), line], overwrite=True)
    assert text.replace("TABLE", str(dataset.parent / "slices.csv")) in str(caught.value)


def test_no_such_column(dataset: Path) -> None:
    with pytest.raises(InputError, match=r"\[missing-column\] .*expected the column z, found patient, scan, slice"):
        imported(dataset, sound(), slice_column="z")


BINARY = Target("b", "binary", ("no", "yes"))
MULTICLASS = Target("c", "multiclass", ("x", "y"))
MULTILABEL = Target("l", "multilabel", ("x", "y"))


@pytest.mark.parametrize(
    ("target", "slices", "label"),
    [
        (BINARY, ("no", "yes"), "yes"),
        (BINARY, ("no", "no"), "no"),
        (BINARY, (None, "yes"), "yes"),
        (BINARY, (None, "no"), None),
        (BINARY, (), None),
        (MULTICLASS, ("x", "x"), "x"),
        (MULTICLASS, ("x", "y"), None),
        (MULTICLASS, ("x", None), None),
        (MULTILABEL, (("y",), ("x",)), ("x", "y")),
        (MULTILABEL, ((), ()), ()),
        (MULTILABEL, (("y",), None), None),
        (MULTILABEL, (), None),
    ],
)
def test_label_of_a_case(target: Target, slices: tuple[Label | None, ...], label: Label | None) -> None:
    assert case_label(target, slices) == label


def test_what_is_exported_comes_back(dataset: Path) -> None:
    cases = {
        name: Case({"l": ("x", "y")}, slices={"l": (("x",), ("y", "x"), (), ()), "c": ("x", None, "y", None)})
        for name in TRAINING
    }
    sidecar = LabelSidecar({"l": MULTILABEL, "c": MULTICLASS}, cases)
    write_sidecar(sidecar, dataset / "class_labels.json")
    export_slices(sidecar, dataset / "slices.csv")
    assert (dataset / "slices.csv").read_text().splitlines()[:5] == [
        "case_id,slice,l,c", "a,0,x,x", "a,1,y;x,", "a,2,none,y", "a,3,none,"
    ]  # fmt: skip
    options = ImportOptions(slice_column="slice", overwrite=True)
    back = import_table(dataset, dataset / "slices.csv", options).sidecar
    assert back.targets == sidecar.targets
    for name in TRAINING:
        assert back.cases[name].labels == cases[name].labels
        assert back.cases[name].slices["l"] == (("x",), ("x", "y"), (), ())  # in the order of the classes
        assert back.cases[name].slices["c"] == ("x", None, "y", None)
