"""Class tables as people save them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_multitask.dataset_conversion.tables import Row, read_table
from nnunet_multitask.errors import InputError, InputErrors

EXPECTED = (["case", "label"], [Row(2, {"case": "a", "label": "1"}), Row(3, {"case": "b", "label": ""})])


@pytest.mark.parametrize(
    "content",
    [
        b"case,label\na,1\nb,\n",
        b"case,label\r\na,1\r\nb,\r\n",
        b"\xef\xbb\xbfcase,label\na,1\nb,",
        b"case;label\na;1\nb;\n",
        b"case\tlabel\na\t1\nb\t\n\n",
        b" case , label\n a ,1 \n b,\n , \n",
    ],
    ids=["plain", "crlf", "bom", "semicolon", "tab", "blanks"],
)
def test_one_table_in_many_forms(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert read_table(tmp_path / "t.csv") == EXPECTED


def test_value_with_a_line_break(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('case,note\na,"two\nlines"\nb,x\n')
    assert read_table(tmp_path / "t.csv")[1] == [
        Row(3, {"case": "a", "note": "two\nlines"}),
        Row(4, {"case": "b", "note": "x"}),
    ]


def test_rows_of_another_length_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("case,label\na\nb,1\nc,1,2\n")
    with pytest.raises(InputErrors, match=r"line 2: expected 2 values, got 1(.|\n)*line 4: expected 2 values, got 3"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("content", [b"\n", b",\n", b"a,a\n1,2\n"])
def test_header_is_needed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match="expected a header with each column once"):
        read_table(tmp_path / "t.csv")


def test_missing_file_and_other_bytes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[missing-file\]"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"case,label\n\xe4,1\n")
    with pytest.raises(InputError, match="expected UTF-8 text"):
        read_table(tmp_path / "t.csv")


def test_blank_columns_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"case;label;;\r\na;1;;\r\nb; ; ;\r\n")
    assert read_table(tmp_path / "t.csv") == EXPECTED
    (tmp_path / "t.csv").write_text("case,label,,\na,1,,x\n")
    with pytest.raises(InputErrors, match="line 2: expected 2 values, got 4"):
        read_table(tmp_path / "t.csv")


def test_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"case,label\na,x\nb,\0\n")
    with pytest.raises(InputError, match=r"\[bad-table\] .*t.csv: line 3: expected text, got a NUL character"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text(f'case,label\na,"{"x" * 200_000}"\n')
    with pytest.raises(InputError, match=r"\[bad-table\] .*line 2: expected lines of text, got: field larger than"):
        read_table(tmp_path / "t.csv")


def json_table(tmp_path: Path, text: str) -> tuple[list[str], list[Row]]:
    (tmp_path / "t.json").write_text(text)
    return read_table(tmp_path / "t.json")


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        (
            '[{"id": "a", "grade": 2}, {"id": "b", "sick": true}]',
            ["id", "grade", "sick"],
            [{"id": "a", "grade": "2", "sick": ""}, {"id": "b", "grade": "", "sick": "1"}],
        ),
        ('{"a": "x", "b": null}', ["class", "case"], [{"case": "a", "class": "x"}, {"case": "b", "class": ""}]),
        (
            '{"a": {"grade": " x ", "p": 1.5}, "b": {}}',
            ["grade", "p", "case"],
            [{"case": "a", "grade": "x", "p": "1.5"}, {"case": "b", "grade": "", "p": ""}],
        ),
    ],
    ids=["records", "classes", "columns"],
)
def test_json(tmp_path: Path, text: str, columns: list[str], rows: list[dict[str, str]]) -> None:
    assert json_table(tmp_path, text) == (columns, [Row(n, row, "entry") for n, row in enumerate(rows, 1)])


def test_lists_of_json(tmp_path: Path) -> None:
    _, rows = json_table(tmp_path, '{"a": ["IPH", "SDH"], "b": [], "c": null}')
    assert [row.values["class"] for row in rows] == ["IPH;SDH", "none", ""]
    assert [row.lists for row in rows] == [{"class"}, {"class"}, set()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7", r"\[bad-table\] .*expected a list of objects, \{case: \{column: value\}\} or \{case: class\}"),
        ("[]", r"\[bad-table\]"),
        ('[["a", "x"]]', r"\[bad-table\]"),
        ('{"a": "x", "a": "y"}', r"\[bad-json\] .*the key 'a' twice"),
        ('[{"case": "a", "b": {}}]', r"\[bad-row\] .*entry 1: expected a text, .* as 'b', got \{\}"),
        ('{"a": ["x;y"]}', r"\[bad-row\] .*entry 1: .* got \['x;y'\]"),
        ('{"a": [["x"]]}', r"\[bad-row\]"),
        ('{"a": [""]}', r"\[bad-row\]"),
        ('[{"case": "a", "case ": "b"}]', r"\[bad-row\] .*entry 1: expected each column once"),
        ('{"a": NaN}', r"\[bad-json\]"),
    ],
)
def test_json_of_another_form(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises((InputError, InputErrors), match=message):
        json_table(tmp_path, text)
