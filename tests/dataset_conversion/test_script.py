"""Converters as programs of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_multitask.dataset_conversion import phantom
from nnunet_multitask.dataset_conversion.script import format_summary, run_script

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["hemseg200", "folder", "phantom"])
def test_help_from_a_checkout(name: str) -> None:
    command = [sys.executable, f"dataset_conversion/{name}.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--output" in done.stdout or "--dataset-id" in done.stdout


def test_summary_as_text_and_json() -> None:
    summary = {"dataset": "D", "counts": {"training": 2}, "excluded": [{"case": "a", "code": "x", "reason": "because"}]}
    assert format_summary(summary, as_json=False) == "dataset: D\ncounts: 2 training\nexcluded: a (because)"
    assert json.loads(format_summary(summary, as_json=True)) == summary
    assert format_summary({"excluded": []}, as_json=False) == "excluded: none"


def test_summary_shows_classes_and_the_first_ten_warnings() -> None:
    summary = {"classes": {"grade": {"low": 1, "unknown": 2}}, "warnings": [f"w{index}" for index in range(12)]}
    lines = format_summary(summary, as_json=False).splitlines()
    assert lines[0] == "grade (training): 1 low, 2 unknown"
    assert lines[1:11] == [f"WARN w{index}" for index in range(10)]
    assert lines[11:] == ["2 more warnings are in conversion_report.json"]


def test_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--output", str(tmp_path / "out"), "--train", "1", "--val", "0", "--test", "0"]
    assert run_script("", phantom.add_arguments, phantom.run, arguments) == 0
    assert "phantom version: 1" in capsys.readouterr().out
    assert run_script("", phantom.add_arguments, phantom.run, arguments) == 1
    assert capsys.readouterr().err.startswith("ERROR [already-exists]")
    with pytest.raises(SystemExit, match="2"):
        run_script("", phantom.add_arguments, phantom.run, [])
