"""JSON documents, read strictly and written all or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunet_multitask.documents import read_json, write_json
from nnunet_multitask.errors import InputError


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"Größe": [1, None]})
    assert read_json(tmp_path / "new" / "a.json") == {"Größe": [1, None]}
    assert (tmp_path / "new" / "a.json").read_text("utf-8").endswith("}\n")


def test_json_with_nan_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"new": float("nan")})
    assert read_json(path) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1', "line 1 column 8"),
        ('{"a": NaN}', "the constant NaN"),
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ("[" * 100_000, "bad-json"),
    ],
)
def test_json_faults(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_json(tmp_path / "a.json")


def test_json_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match=r"\[bad-json\]"):
        read_json(tmp_path / "a.json")


def test_written_json_is_strict(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [1.5, "x"])
    assert json.loads((tmp_path / "a.json").read_text()) == [1.5, "x"]
