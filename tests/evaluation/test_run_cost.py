"""Time and memory of a run."""

from __future__ import annotations

from nnunet_multitask.evaluation.run_cost import Stopwatch


def test_time_and_memory_are_measured() -> None:
    watch = Stopwatch()
    first, second = watch.cost(1), watch.cost(3)
    assert 0 <= first.seconds <= second.seconds < 60
    assert second.workers == 3
    assert second.peak_memory_mib is None or 10 < second.peak_memory_mib < 1e6
