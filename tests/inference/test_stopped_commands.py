"""The command, stopped in every way: nothing half-written, nothing left running, and in the end as if never stopped."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from toy_models import make_images

from nnunet_multitask import environment
from nnunet_multitask.cli.main import main
from nnunet_multitask.inference import exporting

CASES = tuple("abcdefgh")
TIME_LIMIT_S = 120
STOPS = (("SIGKILL", -9), ("SIGINT", 130))
STOPPED = "stopped; the same command with --continue_prediction does what is left"


def arguments(model, images, output, processes):
    argv = ["predict", "-i", images, "-o", output, "-m", model, "-device", "cpu", "-npp", processes, "-nps", processes]
    return [str(word) for word in [*argv, "--disable_progress_bar", "--continue_prediction"]]


def done_cases(folder):
    return sorted(path.stem for path in (folder / ".records").glob("*.json"))


def session_members(leader):
    """Return the processes of a session that still run."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # ended in the meantime
            continue
        if int(session) == leader and state != "Z":
            members.append(stat.parent.name)
    return members


def wait_for(condition):
    end = time.monotonic() + TIME_LIMIT_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def stop(argv, folder, name, rng):
    """Start the command, stop it at random while it predicts, and return its status and what it said."""
    before = len(done_cases(folder))
    process = subprocess.Popen(
        [sys.executable, "-m", "nnunet_multitask.cli.main", *argv],
        env={**os.environ, environment.VARIABLE: environment.ext_trainer_value(None), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: len(done_cases(folder)) > before or process.poll() is not None)
    time.sleep(rng.uniform(0, 0.2))
    number = getattr(signal, name)
    if name == "SIGINT":  # as a terminal does
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, said = process.communicate()
    wait_for(lambda: not session_members(process.pid))
    return process.returncode, said


def test_stopped_commands_end_as_one_that_nobody_stopped(toy_model, tmp_path):
    threads = torch.get_num_threads()
    images, output = make_images(tmp_path / "images", CASES, (6, 24, 24)), tmp_path / "out"
    rng = random.Random()
    kept: dict[str, int] = {}
    for name, status in STOPS:
        found, said = stop(arguments(toy_model, images, output, 1), output, name, rng)
        assert found == status, said
        assert "Traceback" not in said
        if name != "SIGKILL":
            assert STOPPED in said
        assert not (output / "classification.json").exists()
        times = {case: (output / f"{case}.nii.gz").stat().st_mtime_ns for case in done_cases(output)}
        assert kept.items() <= times.items()  # done once, and not again
        assert len(kept) < len(times) < len(CASES)
        kept = times
        for record in (output / ".records").iterdir():
            assert json.loads(record.read_text())["cases"]
    assert main(arguments(toy_model, images, output, 0)) == 0
    assert main(arguments(toy_model, images, tmp_path / "whole", 0)) == 0
    torch.set_num_threads(threads)
    for case, changed in kept.items():
        assert (output / f"{case}.nii.gz").stat().st_mtime_ns == changed
    names = [sorted(path.name for path in folder.iterdir()) for folder in (output, tmp_path / "whole")]
    assert names[0] == names[1]
    documents = [json.loads((folder / "classification.json").read_text()) for folder in (output, tmp_path / "whole")]
    for document in documents:
        for case_record in document["cases"].values():
            del case_record["seconds"]
    assert documents[0] == documents[1]
    for case in CASES:
        assert (output / f"{case}.nii.gz").read_bytes() == (tmp_path / "whole" / f"{case}.nii.gz").read_bytes()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_a_mask_is_written(toy_model, toy_images, tmp_path, monkeypatch, capfd, number, status):
    def interrupted(*args):
        Path(f"{args[5]}.nii.gz").write_bytes(b"half")
        os.kill(os.getpid(), number)

    threads = torch.get_num_threads()
    monkeypatch.setattr(exporting, "export_prediction_from_logits", interrupted)
    try:
        found = main(arguments(toy_model, toy_images, tmp_path, 0))
    except SystemExit as end:
        found = end.code
    torch.set_num_threads(threads)
    assert found == status
    assert STOPPED in capfd.readouterr().err
    assert not list(tmp_path.glob("*.nii.gz"))
    assert not list(tmp_path.rglob(".records/*"))
    assert not (tmp_path / "classification.json").exists()


def full_disk(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half_a_mask(*args):
    """Do what ITK does where the disk is full: write a part of the file, and say nothing."""
    Path(f"{args[5]}.nii.gz").write_bytes(bytes.fromhex("1f8b0800000000000003"))


@pytest.mark.parametrize("fault", [full_disk, half_a_mask])
def test_a_full_disk_is_named_and_the_run_can_go_on(toy_model, toy_images, tmp_path, monkeypatch, capfd, fault):
    threads = torch.get_num_threads()
    monkeypatch.setattr(exporting, "export_prediction_from_logits", fault)
    assert main(arguments(toy_model, toy_images, tmp_path, 0)) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("ERROR ")]
    assert f"{tmp_path}" in line
    assert "a.nii.gz" in line
    assert "--continue_prediction" in line
    assert not list(tmp_path.glob("*.nii.gz"))
    monkeypatch.undo()
    assert main(arguments(toy_model, toy_images, tmp_path, 0)) == 0
    torch.set_num_threads(threads)
    assert sorted(json.loads((tmp_path / "classification.json").read_text())["cases"]) == ["a", "b"]


def test_an_output_that_is_no_folder_is_refused(toy_model, toy_images, tmp_path, capfd):
    (tmp_path / "out").write_text("a file")
    assert main(arguments(toy_model, toy_images, tmp_path / "out", 0)) == 1
    assert f"ERROR [cannot-write] {tmp_path / 'out'}: expected to write it" in capfd.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_output_is_refused(toy_model, toy_images, tmp_path, capfd):
    (tmp_path / "out").mkdir(mode=0o500)
    assert main(arguments(toy_model, toy_images, tmp_path / "out", 0)) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("ERROR ")]
    assert "[cannot-write]" in line
    assert "make the folder writable, or choose another place" in line
