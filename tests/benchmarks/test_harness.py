"""What the benchmarks share: verdicts, exit statuses, turns, and memory measured in a fresh process."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module as the benchmarks, being scripts, import it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "_harness", raising=False)
    return importlib.import_module("_harness")


def test_figures_know_their_target(harness: ModuleType) -> None:
    met, missed = harness.Figure("ratio", 1.2, 1.3, "times"), harness.Figure("agreement", 0.5, 0.9, at_least=True)
    assert (met.is_met, missed.is_met) == (True, False)
    assert str(met) == "ratio 1.2 times (target at most 1.3 times)"
    assert str(missed) == "agreement 0.5 (target at least 0.9, missed)"
    assert not harness.Figure("ratio", float("nan"), 1.3).is_met


@pytest.mark.parametrize(("options", "value", "status"), [([], 2, 0), (["--check"], 2, 1), (["--check"], 1, 0)])
def test_last_line_and_status(
    harness: ModuleType, capsys: pytest.CaptureFixture[str], options: list[str], value: float, status: int
) -> None:
    args = harness.make_parser("").parse_args(options)
    assert harness.finish("thing", args, [harness.Figure("ratio", value, 1.3)], {}) == status
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"thing: ratio {value} (target at most 1.3")


def test_saved_result_names_no_place(harness: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "thing.py"), "--work", str(tmp_path), "--save"])
    args = harness.make_parser("").parse_args(["--save"])
    harness.finish("thing", args, [harness.Figure("ratio", 1.0, 1.3)], {"seconds": [1.5]}, ["numpy"])
    text = (tmp_path / "results" / "thing.json").read_text()
    document = json.loads(text)
    assert document["command"] == "python benchmarks/thing.py --work DIR --save"
    assert document["figures"][0]["is_met"]
    assert document["measurements"] == {"seconds": [1.5]}
    assert document["versions"]["numpy"] == np.__version__
    assert str(tmp_path) not in text


def test_absent_peer_leaves_with_3(harness: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    harness.require_peer("json")
    with pytest.raises(SystemExit) as left:
        harness.require_peer("json", "no_such_peer")
    assert left.value.code == 3
    assert "not measured: the peer no_such_peer is not installed" in capsys.readouterr().out


def test_variants_take_turns(harness: ModuleType) -> None:
    calls: list[str] = []
    variants = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    seconds = harness.alternate(variants, 3, before=lambda: calls.append("-"))
    assert "".join(calls) == "-a-b-b-a-a-b"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
    assert harness.ratio_of_medians([1, 9, 2], [4, 4, 0]) == 0.5


def test_memory_is_that_of_the_process_alone(harness: ModuleType) -> None:
    ballast = np.ones(50 << 20, np.uint8)  # of this process: must not count
    small = harness.peak_memory_mib(np.ones, 1, np.uint8)
    large = harness.peak_memory_mib(np.ones, 100 << 20, np.uint8)
    assert 95 < large - small < 110
    assert ballast.any()
