"""The benchmark of scores on tiny masks: it runs, compares values, and its masks are what it says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def surface(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script as a module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("_harness", "surface"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("surface")


def test_masks_have_their_volume_and_their_far_false_positive(surface: ModuleType) -> None:
    near, far = surface.PAIRS[1], surface.PAIRS[3]
    reference, prediction = surface.make_masks(near)
    voxel_ml = np.prod(near.spacing_mm) / 1000
    assert reference.sum() * voxel_ml == pytest.approx(near.volume_ml, rel=0.02)
    dsc = 2 * (reference & prediction).sum() / (reference.sum() + prediction.sum())
    assert 0.75 < dsc < 0.95
    same, with_far = surface.make_masks(far)
    np.testing.assert_array_equal(same, reference)
    assert (with_far ^ prediction).sum() * voxel_ml == pytest.approx(0.3, rel=0.2)


def test_tiny_run(surface: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pair = surface.Pair("tiny", "thick", (16, 64, 64), (5.0, 1.0, 1.0), 5.0, far_false_positive=True)
    monkeypatch.setattr(surface, "PAIRS", (pair,))
    assert surface.main(["--quick", "--peers", "medpy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tiny ")
    assert "medpy" in lines[0]
    assert lines[-1].startswith("surface: CPU time of medpy by ours ")
    assert lines[-1].endswith("; difference from medpy 0 mm (target at most 0 mm)")
    assert "memory, thick slices" in lines[-1]


def test_an_absent_peer_leaves_with_3(
    surface: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(surface.MODULES, "MONAI", "no_such_peer")
    with pytest.raises(SystemExit) as left:
        surface.main(["--check", "--peers", "medpy", "MONAI"])
    assert left.value.code == 3
    assert "not measured: the peer no_such_peer is not installed" in capsys.readouterr().out
