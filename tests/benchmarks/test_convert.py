"""The benchmark of the converters on tiny volumes: it runs, and its figures are those of what it wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_tiny_run() -> None:
    sizes = "--cases 2 --slices 4 --size 32 --repeats 1 --num-workers 1".split()
    command = [sys.executable, "benchmarks/convert.py", *sizes]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("convert: copied against SimpleITK ")
    for name in ("rewritten against SimpleITK", "difference of size", "memory of a worker"):
        assert f"; {name} " in last
