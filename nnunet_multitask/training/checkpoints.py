"""Checkpoints that hold the state of the whole training: nnU-Net's file with one entry more, written all or nothing."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nnunet_multitask.errors import InputError
from nnunet_multitask.inference.checkpoints import load_checkpoint_file, safe_loading
from nnunet_multitask.inference.consistency import loading_weights
from nnunet_multitask.storage import writing_errors

# mixins are written against nnU-Net's trainer without being one, so that they go on top of any of its subclasses
if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as Trainer
else:
    Trainer = object

ENTRY = "multitask_training"  # key of the checkpoint; nnU-Net reads its own keys and passes over this one
UNFINISHED = ".unfinished"  # ending of a checkpoint that is being written

_WRITER = "inline_container.cc"  # the file of torch whose errors are those of writing


class ExtraStateMixin(Trainer):
    """Keeps what a training needs beyond nnU-Net's checkpoint to go on as if it had not been interrupted.

    A mixin with state of its own extends both hooks, and adds one key of its own::

        def extra_state(self):
            return {**super().extra_state(), "stopping": self.stopping.state()}

        def load_extra_state(self, state):
            super().load_extra_state(state)
            self.stopping.load(state.get("stopping", {}))
    """

    def extra_state(self) -> dict[str, Any]:
        """Return the state by owner: plain values, lists, dictionaries and tensors, so that nothing is unpickled."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take the state back.

        Args:
            state: what ``extra_state`` returned, tensors on the CPU; an owner's key is absent where the checkpoint is
                nnU-Net's own or older than the owner, who then starts afresh.
        """

    def save_checkpoint(self, filename: str) -> None:
        """Write nnU-Net's checkpoint with our entry beside its place and rename it: a kill never leaves half a file.

        Raises:
            InputError: the disk is full, or the folder cannot be written.
        """
        with written_beside(filename) as unfinished, adding_entry(plain(self.extra_state())):
            super().save_checkpoint(unfinished)

    def checkpoint_in_memory(self) -> io.BytesIO:
        """Return the checkpoint as the bytes of its file; empty where ``save_checkpoint`` would write none."""
        content = io.BytesIO()
        with adding_entry(plain(self.extra_state())):
            super().save_checkpoint(content)  # handed on to torch.save, which takes a stream
        return content

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load nnU-Net's checkpoint, then our entry in it.

        Nothing that could run is unpickled, whoever has started the training; see ``safe_loading``.

        Raises:
            InputError: the file cannot be read, would run something, or is of another network.
        """
        entry = read_entry(filename_or_checkpoint)
        where = filename_or_checkpoint if isinstance(filename_or_checkpoint, str) else "checkpoint"
        with safe_loading(), loading_weights(where):
            super().load_checkpoint(filename_or_checkpoint)
        self.load_extra_state(entry)


@contextmanager
def written_beside(filename: str) -> Iterator[str]:
    """Yield a name to write to; what was written there is renamed to ``filename`` on success, removed on failure.

    Args:
        filename: the file to appear; it stays as it is where nothing is written.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    unfinished = f"{filename}{UNFINISHED}"
    try:
        with writing_errors(filename):
            yield unfinished
            if os.path.isfile(unfinished):  # not where checkpoints are disabled, nor in the other processes of DDP
                os.replace(unfinished, filename)
    except RuntimeError as error:
        if _WRITER not in str(error):
            raise
        # torch says "unexpected pos 704 vs 598" when the system takes no more bytes
        fault = f"expected to write it, got: {str(error).splitlines()[0]}"
        raise InputError("cannot-write", filename, fault, "free some space, or enlarge your quota") from error
    finally:
        with suppress(FileNotFoundError):
            os.remove(unfinished)


@contextmanager
def adding_entry(state: Mapping[str, Any]) -> Iterator[None]:
    """Add our entry to the checkpoints that are saved while the block runs.

    nnU-Net's method fixes the keys and saves them in one go. Its ``torch.save`` is replaced in memory for that one
    call; writing the file a second time would double the writing of each epoch.

    Args:
        state: what to write under ``ENTRY``.
    """
    save = torch.save

    def save_with_entry(content: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(content, dict) and "network_weights" in content:
            content = {**content, ENTRY: dict(state)}
        save(content, *args, **kwargs)

    torch.save = save_with_entry  # type: ignore[assignment]  # takes any arguments
    try:
        yield
    finally:
        torch.save = save


def read_entry(checkpoint: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """Return our entry of a checkpoint, its tensors on the CPU; empty where it has none, as nnU-Net's own.

    Args:
        checkpoint: a checkpoint or its file, which is mapped, so that its weights are not read twice.

    Raises:
        InputError: the file is damaged, no checkpoint, or would run something.
    """
    content = checkpoint if isinstance(checkpoint, Mapping) else read_checkpoint(checkpoint)
    return dict(content.get(ENTRY, {}))


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of a training that is to go on.

    Raises:
        InputError: as `load_checkpoint_file`; of a damaged file the remedy says what ``--c`` does without it.
    """
    try:
        return load_checkpoint_file(path)
    except InputError as error:
        if error.code != "unreadable-checkpoint":
            raise
        remedy = "remove the file; --c then takes the next one: checkpoint_final, checkpoint_latest, checkpoint_best"
        raise InputError("damaged-checkpoint", path, error.fault, remedy) from error


def plain(value: Any, where: str = ENTRY) -> Any:
    """Return state with numpy's numbers as Python's, which load without unpickling.

    Args:
        value: state of a mixin.
        where: its place, for the error.

    Raises:
        TypeError: neither number, text, tensor, None, nor a list, tuple or dictionary of them.
    """
    if isinstance(value, Mapping):
        return {plain(key, where): plain(item, f"{where}/{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}/{index}") for index, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor):
        return value.detach()
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"{where}: expected plain values or tensors in a checkpoint, got {type(value).__name__}")
