"""The processes that nnU-Net starts beside a prediction: they leave Ctrl-C to it, and end when it is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.managers import SyncManager
from types import SimpleNamespace
from typing import Any

from nnunetv2.inference import data_iterators, predict_from_raw_data

# the names by which nnU-Net looks up who preprocesses, who holds the queues, and who starts those that export
PREPROCESS, MANAGER, STARTER = "preprocess_fromfiles_save_to_queue", "Manager", "multiprocessing"


@contextmanager
def attended() -> Iterator[list[BaseException]]:
    """Let the processes that nnU-Net's predictor starts while the block runs begin with `attend`.

    Left to themselves they outlive a prediction that was killed: the one that preprocesses tries for ever to hand its
    volume over. And at Ctrl-C, which reaches every process of a terminal, each would show a traceback of its own.

    Yields:
        What the processes that export have failed with up to now. nnU-Net looks only when all cases are predicted:
        where the disk is full after an hour, a night of predictions would be lost.
    """
    failures: list[BaseException] = []
    starter = SimpleNamespace(**{**vars(multiprocessing), "get_context": partial(_context, failures)})
    ours = {
        (data_iterators, PREPROCESS): preprocess,
        (data_iterators, MANAGER): _manager,
        (predict_from_raw_data, STARTER): starter,
    }
    before = {key: vars(key[0])[key[1]] for key in ours}
    for (module, name), value in ours.items():
        setattr(module, name, value)
    try:
        yield failures
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)


def attend() -> None:
    """Leave Ctrl-C to the process that started this one, and end when that is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def preprocess(*args: Any) -> None:
    """Do what nnU-Net's function does, in a process that attends to its parent; arguments are nnU-Net's."""
    attend()
    with suppress(ConnectionError, EOFError):  # the queues are gone: the prediction has ended
        data_iterators.preprocess_fromfiles_save_to_queue(*args)


def _manager() -> SyncManager:
    manager = SyncManager(ctx=multiprocessing.get_context())
    manager.start(attend)
    return manager


def _context(failures: list[BaseException], method: str) -> Any:
    context = multiprocessing.get_context(method)

    def pool(processes: int) -> Any:
        started = context.Pool(processes, initializer=attend)
        started.apply_async = partial(started.apply_async, error_callback=failures.append)  # type: ignore[method-assign]
        return started

    return SimpleNamespace(Pool=pool)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
