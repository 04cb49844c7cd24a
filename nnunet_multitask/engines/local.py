"""One map over many items, in this process or in several, with a progress bar; knows nothing of medicine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from nnunet_multitask.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

ITEMS_IN_FLIGHT = 4  # per worker: results that wait for their turn take memory
SECONDS_A_LINE = 10.0  # in a log, where each state of the bar stays


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    num_workers: int | None = None,
    description: str,
    unit: str = "case",
    progress: bool = True,
) -> Iterator[R]:
    """Yield ``function(item)`` for each item, in the order of the items.

    Args:
        function: what to do; with several workers it, the items and the results are pickled.
        items: any number of them; none gives nothing.
        num_workers: processes, None for one a core; 1 works in this process.
        description, unit: for the progress bar, which shows the rate.
        progress: show a progress bar on standard error; where that is no terminal it is written every ten seconds.

    Raises:
        Whatever ``function`` raises, as soon as its turn comes; items not begun by then are given up.
        InputError: a worker was killed, for want of memory as a rule.
    """
    items = list(items)
    workers = min(num_workers or available_cores(), len(items))
    seconds = 0.1 if sys.stderr.isatty() else SECONDS_A_LINE
    with tqdm(total=len(items), desc=description, unit=unit, disable=not progress, mininterval=seconds) as bar:
        for result in map(function, items) if workers <= 1 else _in_processes(function, items, workers, description):
            bar.update()
            yield result


def _in_processes(function: Callable[[T], R], items: list[T], num_workers: int, description: str) -> Iterator[R]:
    # spawned, since a fork of a process that has started threads may hang
    context = multiprocessing.get_context("spawn")
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker) as pool:
        running: deque[Future[R]] = deque()
        try:
            for item in items:
                if len(running) == ITEMS_IN_FLIGHT * num_workers:
                    yield running.popleft().result()
                with _ctrl_c_waits():  # a worker takes the mask over, and begins with long imports
                    running.append(pool.submit(function, item))
            while running:
                yield running.popleft().result()
        except BrokenProcessPool as error:
            fault = f"expected {num_workers} workers to finish, the system ended one, as a rule for want of memory"
            raise InputError("worker-killed", description, fault, "use fewer workers") from error
        except KeyboardInterrupt:
            for worker in multiprocessing.active_children():
                if worker not in others:
                    worker.terminate()  # nobody waits for what they have begun
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    # Ctrl-C reaches every process of a terminal: what then happens to the work is for the parent to say
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is no more: a parent that was killed cannot tell it to end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
