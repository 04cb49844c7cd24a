"""The benchmark of scoring a folder, on a few cases: it runs, and its last line has every figure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_tiny_run() -> None:
    sizes = "--cases 3 --distinct 2 --repeats 1 --num-workers 1".split()
    command = [sys.executable, "benchmarks/evaluate_folder.py", *sizes]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *speeds, last = done.stdout.splitlines()
    assert [line.split()[0] for line in speeds] == ["SimpleITK", "nibabel", "read_mask", "evaluate"]
    assert last.startswith("evaluate_folder: speed against only reading ")
    for name in ("memory ", "memory of four times the cases "):
        assert f"; {name}" in last
