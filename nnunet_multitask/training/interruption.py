"""SIGTERM and Ctrl-C as exceptions that come when a training can bear them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

TERMINATED_STATUS = 128 + signal.SIGTERM  # 143, which shells and schedulers read as "ended by SIGTERM"


class Terminated(SystemExit):
    """SIGTERM came; left uncaught, the process ends with status 143."""

    def __init__(self) -> None:
        super().__init__(int(TERMINATED_STATUS))


class Interruption:
    """While entered, SIGTERM raises ``Terminated``, and both it and Ctrl-C wait until a ``deferred`` block is over.

    The exception comes between two operations of Python, so within seconds, and nothing asks for it in each step: a
    scheduler grants half a minute. Entered in another thread than the main one, which alone may handle signals, it
    changes nothing. A second Ctrl-C does not wait.
    """

    def __init__(self) -> None:
        self._pending: BaseException | None = None
        self._blocks = 0
        self._pid = 0
        self._before: dict[int, Any] = {}

    def __repr__(self) -> str:
        return f"Interruption(pending={self._pending!r})"

    def __enter__(self) -> Interruption:
        self._pending = None
        self._pid = os.getpid()
        if threading.current_thread() is threading.main_thread():
            self._take(signal.SIGTERM)
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody wants to ignore it
                self._take(signal.SIGINT)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: installed by C code
        self._before = {}

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let signals wait while the block runs; what came then is raised at its end."""
        self._blocks += 1
        try:
            yield
        finally:
            self._blocks -= 1
        self.check()

    def check(self) -> None:
        """Raise what came and has not been raised, or was lost in a place where Python swallows exceptions."""
        if self._pending is not None and not self._blocks:
            raise self._pending

    def _take(self, number: int) -> None:
        self._before[number] = signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a loader process, forked from the training, ends as it would without us
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        again = isinstance(self._pending, KeyboardInterrupt) and number == signal.SIGINT
        if not isinstance(self._pending, Terminated):
            self._pending = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        if again or not self._blocks:
            raise self._pending
