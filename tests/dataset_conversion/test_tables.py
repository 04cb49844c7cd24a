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
