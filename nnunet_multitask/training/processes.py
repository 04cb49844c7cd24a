"""The processes of a distributed training load checkpoints as safely as the one that starts them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from nnunetv2.run import run_training

from nnunet_multitask.inference.checkpoints import safe_loading

PROCESS = "run_ddp"  # the name by which nnU-Net looks up what each process does


@contextmanager
def safe_training(*, trust_checkpoint: bool = False) -> Iterator[None]:
    """Let nnU-Net's ``run_training`` load nothing that could run, in any of its processes, while the block runs.

    A new process inherits the variable that forbids unpickling, but not the list of what is harmless, nor the user's
    trust. So nnU-Net's function for each process, a global of its module, is replaced by one that sets up both.

    Args:
        trust_checkpoint: unpickle in all of them whatever a file asks for.
    """
    before = getattr(run_training, PROCESS)
    setattr(run_training, PROCESS, partial(run_process, trust_checkpoint))
    try:
        with safe_loading(trust_checkpoint=trust_checkpoint):
            yield
    finally:
        setattr(run_training, PROCESS, before)


def run_process(trust_checkpoint: bool, rank: int, *arguments: Any) -> None:
    """Do in a process of its own, where nothing is replaced, what nnU-Net does there."""
    with safe_loading(trust_checkpoint=trust_checkpoint):
        getattr(run_training, PROCESS)(rank, *arguments)
