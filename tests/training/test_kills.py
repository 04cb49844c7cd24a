"""A training that is killed ten times at random is in the end the one that nobody killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EPOCHS = 24  # of which ten kills and two SIGTERM let at most 2 each be finished
SCRIPT = Path(__file__).resolve().parents[1] / "support" / "killed_trainings.py"


@pytest.fixture
def plans(micro_env):
    path = micro_env.preprocessed / "killed.json"
    document = json.loads((micro_env.preprocessed / "micro.json").read_text())
    document["plans_name"] = path.stem
    document["multitask"]["schedule"] |= {"epochs": EPOCHS, "iterations": 1, "val_iterations": 1, "save_every": 1}
    path.write_text(json.dumps(document))
    yield path.stem
    path.unlink()


def test_ten_kills_leave_no_trace(plans, tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, plans, "10", "1"],
        env={**os.environ, "nnUNet_results": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["epochs"] == sorted(seen["epochs"])
    assert seen["epochs"][-1] >= 6  # every second kill waited for another epoch, and so did SIGTERM
    assert (seen["terminated"], seen["with_processes"], seen["last"]) == (143, 143, [0, 0])
    assert seen["alive"] == []
    killed, undisturbed = seen["killed"], seen["undisturbed"]
    assert killed["files"] == undisturbed["files"]
    assert not any("unfinished" in name or "latest" in name for name in killed["files"])
    for name, values in killed["log"].items():
        assert len(values) == EPOCHS, name
        if "timestamp" not in name:
            assert str(values) == str(undisturbed["log"][name]), name  # as text, since NaN is not equal to itself
    print(seen["epochs"])
