"""Converters as programs of their own."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nnunet_multitask.dataset_conversion import phantom
from nnunet_multitask.dataset_conversion.channels import ChannelOptions
from nnunet_multitask.dataset_conversion.script import (
    add_dataset_arguments,
    format_summary,
    options_from,
    run_script,
    summarize,
    terminable,
)
from nnunet_multitask.dataset_conversion.sources import Conversion, ConversionOptions
from nnunet_multitask.errors import InputError, InputErrors

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["hemseg200", "physionet_ct_ich", "folder", "phantom"])
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
    summary["warnings"] = summary["warnings"][:11]
    assert format_summary(summary, as_json=False).endswith("\n1 more warning is in conversion_report.json")


def test_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--output", str(tmp_path / "out"), "--train", "1", "--val", "0", "--test", "0"]
    assert run_script("", phantom.add_arguments, phantom.run, arguments) == 0
    assert "phantom version: 1" in capsys.readouterr().out
    assert run_script("", phantom.add_arguments, phantom.run, arguments) == 1
    assert capsys.readouterr().err.startswith("ERROR [already-exists]")
    with pytest.raises(SystemExit, match="2"):
        run_script("", phantom.add_arguments, phantom.run, [])


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_dataset_arguments(parser, "Own")
    return parser.parse_args(["--input", "in", "--dataset-id", "7", *arguments])


def test_options_arrive() -> None:
    assert options_from(parse()) == ConversionOptions()
    switches = "--overwrite --dry-run --link --repair-geometry --skull-strip --mirror-channel".split()
    values = "--num-workers 3 --geometry-tolerance-mm 0.01 --windows brain,bone".split()
    assert options_from(parse(*switches, *values)) == ConversionOptions(
        overwrite=True,
        dry_run=True,
        link=True,
        num_workers=3,
        tolerance_mm=0.01,
        repair_geometry=True,
        channels=ChannelOptions(("brain", "bone"), skull_strip=True, mirror_channel=True),
    )


@pytest.mark.parametrize("value", ["--num-workers=0", "--geometry-tolerance-mm=-1", "--geometry-tolerance-mm=nan"])
def test_impossible_numbers_are_wrong_usage(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(value)
    assert "expected a number" in capsys.readouterr().err


def test_summary_of_a_dry_run_shows_every_warning(tmp_path: Path) -> None:
    report = {
        "counts": {"training": 1},
        "classes": {"training": {"kind": {"a": 1}}, "test": {}},
        "excluded": [{"case": "b", "code": "shape-differs", "reason": "too deep", "inputs": {}}],
        "warnings": [f"w{index}" for index in range(12)],
    }
    lines = format_summary(summarize(Conversion(tmp_path, report, written=False)), as_json=False).splitlines()
    assert lines[:5] == [
        f"dataset: {tmp_path}",
        "written: no (dry run)",
        "counts: 1 training",
        "kind (training): 1 a",
        "excluded: b (too deep)",
    ]
    assert lines[5:] == [f"WARN w{index}" for index in range(12)]


def test_termination_is_an_exception_for_the_block_only() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left, terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert left.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_termination_outside_the_main_thread_is_left_to_others() -> None:
    seen = []

    def work() -> None:
        with terminable():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    arguments = ["--output", str(tmp_path), "--train", "1", "--debug"]
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="already-exists"):
        run_script("", phantom.add_arguments, phantom.run, arguments)

    def refuse(_: argparse.Namespace) -> dict:
        raise InputErrors([InputError("bad", "file", "fault", "remedy")])

    with pytest.raises(InputErrors):
        run_script("", lambda _: None, refuse, ["--debug"])
    assert run_script("", lambda _: None, refuse, []) == 1
