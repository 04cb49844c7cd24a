"""Random numbers for one purpose, apart from all others."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType

import torch


class RandomStream(AbstractContextManager[None]):
    """While it is entered, torch's random numbers on the CPU come from here; afterwards they go on as before.

    Dropout draws from it, so that batches that the same process loads (``nnUNet_n_proc_DA=0``) are the same with the
    branch and without.

    Args:
        seed: equal seeds give equal numbers.
    """

    def __init__(self, seed: int) -> None:
        self._state = torch.Generator().manual_seed(seed).get_state()

    def __enter__(self) -> None:
        """Draw from this stream."""
        self._outside = torch.get_rng_state()
        torch.set_rng_state(self._state)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Note how far the stream was drawn, and go on with the numbers of everybody."""
        self._state = torch.get_rng_state()
        torch.set_rng_state(self._outside)
