"""CSV files: no formulas, and nothing lost."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_multitask.csv_files import plain_cell, safe_cell, write_csv


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=cmd()", "'=cmd()"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("'=x", "''=x"),
        ("'tis", "'tis"),
        ("a=b", "a=b"),
        (-1.5, -1.5),
        (None, None),
        ("", ""),
    ],
)
def test_cells(value: object, cell: object) -> None:
    assert safe_cell(value) == cell


@given(st.text())
def test_a_text_comes_back_and_is_no_formula(text: str) -> None:
    cell = safe_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert plain_cell(cell) == text


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.csv"
    write_csv(path, ["a", "=b"], [["ä,;\n", None], [1, 2.5]])
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["a", "'=b"], ["ä,;\n", ""], ["1", "2.5"]]
    assert b"\r" not in path.read_bytes()
