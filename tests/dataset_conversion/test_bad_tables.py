"""The bad inputs 23 to 25 and 28 in a class table, and the answer of ``labels import``."""

from __future__ import annotations

from pathlib import Path

import pytest
from raw_datasets import make_dataset

from nnunet_multitask.cli.main import main
from nnunet_multitask.documents import read_json

HEADER = "case,grade\n"
ROWS = "a,1\nb,2\nc,1\nd,2\n"


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    return make_dataset(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + (HEADER + ROWS).encode(),
        (HEADER + ROWS).replace(",", ";").encode(),
        (HEADER + ROWS).replace("\n", "\r\n").encode(),
        (HEADER + ROWS).replace(",1", " , 1 ").encode(),
        (HEADER + ROWS).replace(",1", ",1.0").replace(",2", ",2.0").encode(),
        (HEADER + ROWS.replace("a,1", "a,nan")).encode(),
        (HEADER + ROWS.replace("a,1", "a,")).encode(),
    ],
    ids=["BOM", "semicolon", "CRLF", "blanks", "1.0", "NaN", "empty"],
)
def test_class_tables_that_are_read(dataset: Path, content: bytes) -> None:
    """25: parsed, and what is unknown stays unknown."""
    table = dataset.parent / "table.csv"
    table.write_bytes(content)
    assert main(["labels", "import", str(table), "--dataset", "1"]) == 0
    document = read_json(dataset / "class_labels.json")
    assert document["targets"]["grade"]["classes"] == ["1", "2"]
    known = {case: document["cases"][case]["labels"].get("grade") for case in "abcd"}
    unknown = b"nan" in content or b"a,\n" in content
    assert known == {"a": None if unknown else "1", "b": "2", "c": "1", "d": "2"}


@pytest.mark.parametrize(
    ("number", "rows", "lines"),
    [
        (23, ROWS + "b,1\n", ["[duplicate-case] TABLE: line 6: expected each case once, b is also in line 3"]),
        (24, ROWS + "q,1\n", ["[missing-image] TABLE: line 6: expected an image of 'q', found none"]),
        (24, ROWS.replace("d,2\n", ""), ["[missing-row] ", "expected a row of table.csv for the case d, found none"]),
        (25, ROWS.replace("d,2", "d,3"), ["[unknown-class] TABLE: line 5: expected 1, 2 or nothing as grade, got '3'"]),
        (25, ROWS.replace("d,2", "d"), ["[bad-row] TABLE: line 5: expected 2 values, got 1"]),
        (28, ROWS + "../../x,1\n", ["[missing-image] TABLE: line 6: expected an image of '../../x'"]),
    ],
)
def test_class_tables_that_are_refused(
    dataset: Path, number: int, rows: str, lines: list[str], capsys: pytest.CaptureFixture
) -> None:
    """23 to 25 and 28: the row is named, and nothing is written, inside the dataset or outside."""
    table = dataset.parent / "table.csv"
    table.write_text(HEADER + rows)
    before = {path: path.read_bytes() for path in sorted(dataset.parent.rglob("*")) if path.is_file()}
    command = ["labels", "import", str(table), "--dataset", "1", "--class-order", "grade=1,2"]
    assert main(command) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.startswith("ERROR ")
    for line in lines:
        assert line.replace("TABLE", str(table)) in err
    assert {path: path.read_bytes() for path in sorted(dataset.parent.rglob("*")) if path.is_file()} == before
    if number == 24:
        assert main([*command, "--allow-missing"]) == 0
        assert len(read_json(dataset / "class_labels.json")["cases"]) == 6
