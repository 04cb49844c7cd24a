"""A training that can be interrupted at any moment and goes on where its last finished epoch ended."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

import numpy as np
import torch

from nnunet_multitask.config import ScheduleConfig
from nnunet_multitask.errors import InputError
from nnunet_multitask.training.checkpoints import UNFINISHED, ExtraStateMixin, written_beside
from nnunet_multitask.training.interruption import Interruption, Terminated
from nnunet_multitask.training.loading_faults import explain_loading_error
from nnunet_multitask.training.stopping import EarlyStopping, StoppedEarly

LATEST = "checkpoint_latest.pth"
FINAL = "checkpoint_final.pth"


class ResumingMixin(ExtraStateMixin):
    """Checkpoints in time, early stopping, SIGTERM, and random numbers that depend on the epoch.

    ``checkpoint_latest`` is written every ``save_every`` epochs, as by nnU-Net, and after any epoch at whose end the
    last one is older than ``save_minutes``. In between, the state at the end of the last epoch is kept in memory, as
    the bytes of its checkpoint: whatever ends the training (SIGTERM, Ctrl-C, an error) finds it there and writes it.
    So ``--c`` goes on from exactly what the epoch ended with, and repeats the one that was interrupted; weights of the
    middle of an epoch are never written under the number of the one before. The price is the memory of one checkpoint
    and, for 30 M parameters, less than a second an epoch. A kill repeats at most the epochs since the last writing.

    Random numbers are seeded at the start of each epoch from seed, process and epoch. An epoch that is repeated or
    continued draws the same as without an interruption, and never those of the first epochs again.
    """

    save_minutes: ClassVar[float] = 15.0

    schedule: ScheduleConfig
    stopping: EarlyStopping
    interruption: Interruption
    current_epoch: int
    num_epochs: int

    _kept: io.BytesIO | None = None  # checkpoint of the last finished epoch, where no file for --c holds it
    _finished_epoch: int | None = None  # the last one that this process finished
    _saved_epoch: int | None = None  # the last one that it wrote into a file for --c
    _saved_at: float = 0.0  # when it did so, or began

    def stopping_criterion(self) -> float:
        """Return the validation loss of the epoch that ends, by which early stopping judges; lower is better."""
        return float(self.logger.get_value("val_losses", step=-1))

    def checkpoints_due(self) -> list[str]:
        """Return the files, besides nnU-Net's own, that get the state of the epoch that ends."""
        return []

    def extra_state(self) -> dict[str, Any]:
        """Return the state, with the counter of early stopping."""
        return {**super().extra_state(), "stopping": self.stopping.state()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take the state back, with the counter of early stopping."""
        super().load_extra_state(state)
        self.stopping.load(state.get("stopping", {}))

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load a checkpoint; the best pseudo Dice is the best one of its log.

        ``--c`` prefers ``checkpoint_final``. nnU-Net removes ``checkpoint_latest`` when it has written that: one that
        is newer belongs to a training that went on afterwards and was interrupted, and is loaded in its place.

        nnU-Net writes ``checkpoint_latest`` before it compares the epoch with the best one, so that the file may hold
        the value before: the next epoch could then replace ``checkpoint_best`` by a worse one.
        """
        if isinstance(filename_or_checkpoint, str) and self.logger.resume:
            filename_or_checkpoint = self._newer_than_final(filename_or_checkpoint)
        super().load_checkpoint(filename_or_checkpoint)
        scores = [score for score in self.logger.get_value("ema_fg_dice", step=None) if not np.isnan(score)]
        if scores:
            self._best_ema = max(scores)

    def seed_epoch(self) -> None:
        """Seed torch (the GPU too), numpy and Python for the present epoch and process.

        It fixes the order of data where this process loads them, ``nnUNet_n_proc_DA=0``; the processes that nnU-Net
        starts otherwise draw numbers of their own.
        """
        seed = seed_of_epoch(self.schedule.seed, self.local_rank, self.current_epoch)
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)

    def run_training(self) -> None:
        """Train to the last epoch, to the stop, or to an interruption, which leaves a checkpoint to go on from.

        Raises:
            Terminated: SIGTERM came; the process ends with status 143.
            InputErrors: preprocessed cases cannot be read; they are named.
        """
        if self.stopping.reached:  # --c on a training that has stopped
            self.print_to_log_file(f"{self.stopping.reason()}: nothing is left to train")
            self.num_epochs = min(self.num_epochs, self.current_epoch)
        with self.interruption:
            try:
                try:
                    super().run_training()
                except StoppedEarly:
                    self.on_train_end()
            except BaseException as error:
                with self.interruption.deferred():  # a SIGTERM that comes now is raised at its end
                    self._leave(error)
                explain_loading_error(error, self)
                raise

    def on_train_start(self) -> None:
        """Remove what a killed writing has left, and start the clock."""
        if self.local_rank == 0:
            for leftover in sorted(Path(self.output_folder).glob(f"*{UNFINISHED}")):
                leftover.unlink()
                self.print_to_log_file(f"removed {leftover.name}, which a killed training has left half-written")
            if self.current_epoch == 0:
                self._warn_of_an_older_training()
        self.seed_epoch()  # the processes of the loaders, which are started now, inherit the random state
        super().on_train_start()
        self._saved_at = monotonic()

    def on_epoch_start(self) -> None:
        """Leave the loop where early stopping says so; seed the epoch."""
        self.interruption.check()
        if self.stopping.reached:
            self.print_to_log_file(
                f"{self.stopping.reason()}; {self.current_epoch} of {self.num_epochs} epochs were trained"
            )
            raise StoppedEarly
        self.seed_epoch()
        super().on_epoch_start()

    def on_epoch_end(self) -> None:
        """Judge the epoch, write the checkpoints that are due, and keep its state."""
        self.stopping.consider(self.current_epoch, self.stopping_criterion())
        due = self.checkpoints_due()
        with self.interruption.deferred():
            super().on_epoch_end()
            self._finished_epoch = self.current_epoch - 1
            if self.local_rank == 0 and not self.disable_checkpointing:
                self._keep_epoch(due)

    def on_train_end(self) -> None:
        """Write nnU-Net's final checkpoint and close its loaders, undisturbed."""
        with self.interruption.deferred():
            super().on_train_end()

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint; where ``--c`` takes it, the copy in memory is no longer needed."""
        super().save_checkpoint(filename)
        if not self.disable_checkpointing and Path(filename).name in (LATEST, FINAL):
            self._saved_in_file(self.current_epoch)

    def _keep_epoch(self, due: Sequence[str]) -> None:
        """Write the epoch that has just ended where it is due, and keep it in memory where no file for --c has it."""
        epoch = self.current_epoch - 1
        if epoch != self._saved_epoch and monotonic() - self._saved_at >= 60 * self.save_minutes:
            due = [*due, LATEST]
        if not due and epoch == self._saved_epoch:
            return
        self._kept = None  # before the next one is made: one copy at most
        self.current_epoch = epoch  # nnU-Net stores the epoch after it
        try:
            self._kept = self.checkpoint_in_memory()
        finally:
            self.current_epoch = epoch + 1
        for name in due:
            self._write_kept(name)
        if LATEST in due or epoch == self._saved_epoch:
            self._saved_in_file(epoch)

    def _write_kept(self, name: str) -> None:
        if self._kept is not None:
            with written_beside(str(Path(self.output_folder) / name)) as unfinished:
                Path(unfinished).write_bytes(self._kept.getbuffer())

    def _saved_in_file(self, epoch: int) -> None:
        self._saved_epoch, self._saved_at, self._kept = epoch, monotonic(), None

    def _leave(self, error: BaseException) -> None:
        """Write the last finished epoch, say where the training stands, end the loaders' processes."""
        name = {Terminated: "SIGTERM", KeyboardInterrupt: "Ctrl-C"}.get(type(error), type(error).__name__)
        fault = None
        if self._kept is not None:
            try:
                self._write_kept(LATEST)
                self._saved_epoch = self._finished_epoch
            except InputError as cannot_write:  # what ended the training is raised, and not this
                fault = cannot_write
        if self.local_rank != 0:
            state = "the first process writes"
        elif self._finished_epoch is None:
            state = "no epoch was finished since the start, so nothing is written"
        elif self._saved_epoch != self._finished_epoch:
            state = f"nothing is written: {fault or 'checkpoints are disabled'}"
        else:
            state = f"the state after epoch {self._saved_epoch} is written; go on with --c"
        self.print_to_log_file(f"interrupted by {name}: {state}")
        for loader in (self.dataloader_train, self.dataloader_val):
            if hasattr(loader, "_finish"):  # the one without processes has none
                loader._finish(timeout=3)  # seconds; a scheduler kills after half a minute

    def _newer_than_final(self, filename: str) -> str:
        final, latest = Path(filename), Path(filename).with_name(LATEST)
        if final.name != FINAL or not latest.is_file() or latest.stat().st_mtime_ns <= final.stat().st_mtime_ns:
            return filename
        self.print_to_log_file(f"{LATEST} is newer than {FINAL}: going on from it")
        return str(latest)

    def _warn_of_an_older_training(self) -> None:
        older = [name for name in (FINAL, LATEST) if (Path(self.output_folder) / name).is_file()]
        if older and not self.disable_checkpointing:
            self.print_to_log_file(
                f"WARN {' and '.join(older)} of an earlier training in {self.output_folder}: should this training be "
                f"killed before it has written {LATEST}, --c would go on from the earlier one -> move its files away, "
                "or start with --c"
            )


def seed_of_epoch(seed: int, rank: int = 0, epoch: int = 0) -> int:
    """Return the seed of a process and epoch; the first epoch has the plain one, by which networks are initialised."""
    if epoch == 0:
        return seed + rank  # the same initial weights as in release 0.1.0
    return int(np.random.SeedSequence((seed, rank, epoch)).generate_state(1)[0])
