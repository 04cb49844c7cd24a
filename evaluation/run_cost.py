"""What an evaluation cost: seconds, and memory of the largest process. It differs from run to run, results do not."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class RunCost:
    """Time and memory of a piece of work.

    Args:
        workers: processes that worked.
        seconds: from begin to end.
        peak_memory_mib: of the process that took most, this one or a worker, everything that it imported among it; None
            where the system does not tell.
    """

    workers: int
    seconds: float
    peak_memory_mib: float | None


class Stopwatch:
    """Runs from the moment that it is made."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()

    def cost(self, workers: int) -> RunCost:
        """Return what has been spent since, by so many workers; those that have ended are counted for memory."""
        return RunCost(workers, time.perf_counter() - self._begin, _peak_memory_mib())


def _peak_memory_mib() -> float | None:
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / unit
