"""A conversion that is ended from outside: nothing stands in the place of the dataset, and it can be run again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

# a converter whose reader says that it has begun, and waits where it is told to
SCRIPT = """
import signal, sys, time
from pathlib import Path
from nnunet_multitask.dataset_conversion.raw_writer import write_dataset
from nnunet_multitask.dataset_conversion.script import run_script, summarize
from nnunet_multitask.dataset_conversion.sources import ConversionOptions, LoadedCase, Source, SourceCase
from nnunet_multitask.files import read_image, read_mask
from nnunet_multitask.labels import Case, Target

ROOT = Path(__file__).parent

def read(case):
    (ROOT / f"begun-{case.case_id}").touch()
    while (ROOT / "wait").exists() and case.case_id != "case_0":
        time.sleep(0.05)
    return LoadedCase((read_image(case.images[0]),), read_mask(case.mask), {})

def add_arguments(parser):
    parser.add_argument("--num-workers", type=int)

def run(args):
    files = sorted((ROOT / "images").iterdir())
    cases = [SourceCase(path.name[:6], (path,), ROOT / "labels" / path.name, Case(), reader=read) for path in files]
    source = Source("slow", ROOT, cases, {"kind": Target("kind", "binary", ("no", "yes"))}, {"blood": 1}, ("CT",))
    options = ConversionOptions(num_workers=args.num_workers, progress=False)
    return summarize(write_dataset(source, ROOT / "raw" / "Dataset001_Slow", options))

if __name__ == "__main__":
    # a shell that runs the tests in the background lets its children ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run_script("", add_arguments, run))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("images", "labels", "raw"):
        (tmp_path / name).mkdir()
    for number in range(2):
        array = np.full((3, 4, 5), number, np.int16)
        for name, values in (("images", array - 1000), ("labels", np.minimum(array, 1))):
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / name / f"case_{number}.nii.gz")
    (tmp_path / "slow.py").write_text(SCRIPT)
    (tmp_path / "wait").touch()
    return tmp_path


def end_in_the_middle(root: Path, number: signal.Signals, num_workers: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "slow.py"), "--num-workers", str(num_workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (root / "begun-case_1").exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    if num_workers > 1:
        time.sleep(0.5)
        (root / "wait").unlink()  # a worker finishes the case that it is at
    stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


@pytest.mark.parametrize(
    ("number", "num_workers", "status", "said"),
    [
        (signal.SIGTERM, 1, 143, ""),
        (signal.SIGTERM, 2, 143, ""),
        (signal.SIGINT, 1, 130, "interrupted\n"),
        (signal.SIGKILL, 1, -9, ""),
    ],
)
def test_ended_in_the_middle(root: Path, number: signal.Signals, num_workers: int, status: int, said: str) -> None:
    done = end_in_the_middle(root, number, num_workers)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", said)
    left = [path.name for path in (root / "raw").iterdir()]
    if number == signal.SIGKILL:
        assert len(left) == 1
        assert left[0].startswith(".tmp-")
    else:
        assert left == []
    (root / "wait").unlink(missing_ok=True)
    command = [sys.executable, str(root / "slow.py"), "--num-workers", "1"]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert [path.name for path in (root / "raw").iterdir()] == ["Dataset001_Slow"]
    assert "counts: 2 training" in again.stdout
