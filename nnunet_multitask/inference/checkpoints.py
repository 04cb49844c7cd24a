"""Checkpoints read without unpickling anything that could run, by this package and by nnU-Net."""

from __future__ import annotations

import logging
import os
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_multitask.errors import InputError

logger = logging.getLogger(__name__)

# what nnU-Net puts into a checkpoint beside tensors and plain values: numpy's numbers among its scores
_SCALAR: Any = np.float64(0).__reduce__()[0]
_SAFE: list[Any] = [
    np.dtype,
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),  # its name before numpy 2
    (_SCALAR, "numpy._core.multiarray.scalar"),
    *(type(np.dtype(name)) for name in ("bool", "int32", "int64", "float16", "float32", "float64")),
]
# what DataParallel, DDP and torch.compile put in front of the names of weights
_PREFIXES = ("module.", "_orig_mod.")
# torch reads them in each call of torch.load; the first overrules the weights_only=False that nnU-Net says
_FORCE, _FORCE_NOT = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"

_trusted: ContextVar[bool] = ContextVar("trusted", default=False)


@contextmanager
def safe_loading(*, trust_checkpoint: bool = False) -> Iterator[None]:
    """Let ``torch.load``, whoever calls it, read nothing that could run, while the block runs.

    For the code of nnU-Net, which unpickles: there, what is no tensor, plain value or number of numpy raises instead
    of being called. What ``torch.serialization.add_safe_globals`` was told stays allowed. The block counts for the
    whole process, and its variable is handed on to processes that are started in it.

    Args:
        trust_checkpoint: unpickle in this block, and in those inside it, whatever a file asks for.
    """
    if not trust_checkpoint and not _trusted.get():
        with _GUARD:
            yield
        return
    before = _trusted.set(True)
    try:
        yield
    finally:
        _trusted.reset(before)


def load_checkpoint_file(path: str | Path, *, trust_checkpoint: bool = False) -> dict[str, Any]:
    """Read a checkpoint of nnU-Net, stock or multi-task; its tensors lie on the CPU.

    ``torch.load`` runs what a pickle asks for. Here tensors, plain values and numpy's numbers are read, and a file
    with anything else is refused before it can do something.

    Args:
        path: ``checkpoint_final.pth`` and the like.
        trust_checkpoint: run what the file asks for, and warn; so it is in a trusting block of ``safe_loading``, too.

    Returns:
        The checkpoint, with prefixes of distributed or compiled networks taken off the names of its weights.

    Raises:
        InputError: there is no such file, it is damaged or none of torch's, it would run code, or it has no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("missing-checkpoint", path, "expected a checkpoint, got no such file", "correct the path")
    with safe_loading(trust_checkpoint=trust_checkpoint):
        content = _trusting_read(path) if _trusted.get() else _read(path)
    weights = content.get("network_weights") if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        keys = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
        raise InputError(
            "no-weights",
            path,
            f"expected network_weights, as in a checkpoint of nnU-Net, got {keys or 'nothing'}",
            "name a checkpoint that nnU-Net wrote",
        )
    return {**content, "network_weights": {_bare(name): value for name, value in weights.items()}}


class _Guard:
    """Forbids unpickling while at least one block is open: variable and list of torch belong to the whole process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._variables: dict[str, str | None] = {}
        self._added: list[Any] = []

    def __enter__(self) -> None:
        with self._lock:
            self._blocks += 1
            if self._blocks == 1:
                self._variables = {name: os.environ.pop(name, None) for name in (_FORCE, _FORCE_NOT)}
                os.environ[_FORCE] = "1"
                allowed = torch.serialization.get_safe_globals()  # those stay afterwards
                self._added = [entry for entry in _SAFE if entry not in allowed]
                torch.serialization.add_safe_globals(self._added)

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                kept = [entry for entry in torch.serialization.get_safe_globals() if entry not in self._added]
                torch.serialization.clear_safe_globals()
                torch.serialization.add_safe_globals(kept)
                del os.environ[_FORCE]
                os.environ.update({name: value for name, value in self._variables.items() if value is not None})


_GUARD = _Guard()


def _read(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises what its unpickler stumbles over: KeyError, EOFError, RuntimeError, ...
        if any(words in str(error) for words in ("Unsupported global", "unsupported GLOBAL", "Unsupported class")):
            raise InputError(
                "unsafe-checkpoint",
                path,
                f"expected tensors and plain values, got {_foreign(path, error)}, which could run any program",
                "use a checkpoint that nnU-Net wrote; or, where you trust its author as that of any "
                "program, --trust-checkpoint (in Python trust_checkpoint=True); nothing of this one was run",
            ) from error
        raise _unreadable(path) from error


def _trusting_read(path: Path) -> Any:
    logger.warning(
        "WARNING %s: you trust this checkpoint. Loading it runs whatever program it contains, with your rights: such a "
        "program can read, change, delete and send away every file that you can",
        path,
    )
    try:
        return torch.load(path, map_location="cpu", weights_only=False, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # the program in it may raise anything
        raise _unreadable(path) from error


def _unreadable(path: Path) -> InputError:
    fault = "expected a file that torch.save wrote, got a damaged one or another kind of file"
    return InputError("unreadable-checkpoint", path, fault, "copy it again, or name another")


def _foreign(path: Path, error: Exception) -> str:
    """Return the names of what a file would call, as far as torch can tell without calling it."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # an old format, of which torch names the first one in its error
        names = re.findall(r"GLOBAL (\w[\w.]*\w)", str(error))
    known = {f"{getattr(entry, '__module__', '')}.{getattr(entry, '__name__', '')}" for entry in _SAFE}
    return ", ".join(sorted(set(names) - known)) or "something else"


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
