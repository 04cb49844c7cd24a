"""Trains in processes that are forked from this one and killed: torch and nnU-Net, slow to import, are imported once.

Usage: python killed_trainings.py PLANS KILLS SEED, with nnU-Net's variables set. Prints a JSON object.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint
from nnunetv2.training.logging.nnunet_logger import LocalLogger

from nnunet_multitask.training import multitask
from nnunet_multitask.training.trainers import nnUNetTrainerMultiTaskShort as Trainer

TIME_LIMIT_S = 120


def train(plans: str) -> Any:
    """Train as ``nnUNetv2_train --c`` does, up to the final validation."""
    trainer = get_trainer_from_args("901", "3d_fullres", 0, Trainer.__name__, plans, True, torch.device("cpu"))
    maybe_load_checkpoint(trainer, True, False)
    trainer.run_training()
    return trainer


def forked(work: Callable[[], Any]) -> int:
    """Run ``work`` in a process of its own, and return the process's id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with open(os.devnull, "w") as silence, redirect_stdout(silence):
                work()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            os._exit(status)
    return child


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIME_LIMIT_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)


def finished_epochs(folder: Path) -> int:
    """Return the epochs in the checkpoint that ``--c`` takes; every checkpoint that is there must be whole."""
    epochs = {path.name: torch.load(path, weights_only=False)["current_epoch"] for path in folder.glob("*.pth")}
    return int(epochs.get("checkpoint_final.pth", epochs.get("checkpoint_latest.pth", 0)))


def pausing(training: Callable[[], None]) -> Callable[[], None]:
    """Return the training with a long pause after two epochs, so that a fast machine is not done before the kill."""

    def work() -> None:
        start, begun = Trainer.on_epoch_start, itertools.count()

        def on_epoch_start(self: Any) -> None:
            if next(begun) == 2:
                time.sleep(TIME_LIMIT_S)
            start(self)

        Trainer.on_epoch_start = on_epoch_start  # type: ignore[method-assign]  # in the forked process alone
        training()

    return work


def kill_in_training(training: Callable[[], None], folder: Path, rng: random.Random, settled: bool) -> None:
    """Kill a training at random: after another epoch of it, or at any moment since its start."""
    latest = folder / "checkpoint_latest.pth"
    before = latest.stat().st_mtime_ns if latest.is_file() else 0
    child = forked(pausing(training))
    if settled:
        wait_for(lambda: latest.is_file() and latest.stat().st_mtime_ns != before)
    time.sleep(rng.uniform(0, 0.5 if settled else 1.5))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def terminate_with_loader_processes(training: Callable[[], None], folder: Path) -> tuple[int, list[int]]:
    """Send SIGTERM to a training whose data come from processes; return its status, and which of them still live."""
    pids = folder / "pids.json"

    def work() -> None:
        os.environ["nnUNet_n_proc_DA"] = "1"  # noqa: SIM112  nnU-Net's own name
        step = Trainer.train_step

        def train_step(self: Any, batch: Any) -> Any:
            loaders = (self.dataloader_train, self.dataloader_val)
            pids.write_text(json.dumps([process.pid for loader in loaders for process in loader._processes]))
            os.kill(os.getpid(), signal.SIGTERM)
            return step(self, batch)

        Trainer.train_step = train_step  # type: ignore[method-assign]  # in the forked process alone
        training()

    status = status_of(forked(work))
    return status, [pid for pid in json.loads(pids.read_text()) if Path(f"/proc/{pid}").exists()]


def result_of(folder: Path) -> dict[str, Any]:
    """Return what a finished training has left."""
    return {
        "log": torch.load(folder / "checkpoint_final.pth", weights_only=False)["logging"],
        "files": sorted(path.name for path in folder.glob("*checkpoint*")),
    }


def main(plans: str, kills: int, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    LocalLogger.plot_progress_png = lambda self, folder: None  # the pictures take most of such an epoch
    multitask.draw_curves = lambda *args: None
    folders = {}
    for name in ("killed", "undisturbed"):
        results = Path(os.environ["nnUNet_results"]) / name  # noqa: SIM112  nnU-Net's own name
        folders[name] = results / "Dataset901_Micro" / f"{Trainer.__name__}__{plans}__3d_fullres" / "fold_0"

    def training(name: str = "killed") -> None:
        os.environ["nnUNet_results"] = str(folders[name].parents[2])  # noqa: SIM112
        train(plans)

    folder = folders["killed"]
    rng = random.Random(seed)
    epochs = []
    for index in range(kills):
        kill_in_training(training, folder, rng, settled=index % 2 == 1)
        epochs.append(finished_epochs(folder))
    latest = folder / "checkpoint_latest.pth"
    before = latest.stat().st_mtime_ns
    child = forked(pausing(training))
    wait_for(lambda: latest.stat().st_mtime_ns != before)
    os.kill(child, signal.SIGTERM)
    terminated = status_of(child)
    with_processes, alive = terminate_with_loader_processes(training, folder)
    epochs.append(finished_epochs(folder))
    last = [status_of(forked(lambda name=name: training(name))) for name in folders]  # type: ignore[misc]
    return {
        "epochs": epochs,
        "terminated": terminated,
        "with_processes": with_processes,
        "alive": alive,
        "last": last,
        **{name: result_of(folder) for name, folder in folders.items()},
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])), default=float))
