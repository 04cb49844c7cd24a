"""Checkpoints read without unpickling anything that could run."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_multitask.errors import InputError

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


def load_checkpoint_file(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of nnU-Net, stock or multi-task; its tensors lie on the CPU.

    ``torch.load`` runs what a pickle asks for. Here tensors, plain values and numpy's numbers are read, and a file
    with anything else is refused before it can do something.

    Args:
        path: ``checkpoint_final.pth`` and the like.

    Returns:
        The checkpoint, with prefixes of distributed or compiled networks taken off the names of its weights.

    Raises:
        InputError: there is no such file, it is damaged or none of torch's, it would run code, or it has no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("missing-checkpoint", path, "expected a checkpoint, got no such file", "correct the path")
    try:
        with torch.serialization.safe_globals(_SAFE):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises what its unpickler stumbles over: KeyError, EOFError, RuntimeError, ...
        if any(words in str(error) for words in ("Unsupported global", "unsupported GLOBAL", "Unsupported class")):
            raise InputError(
                "unsafe-checkpoint",
                path,
                f"expected tensors and plain values, got {_foreign(path)}, which could run any program",
                "use a checkpoint that nnU-Net wrote; nothing of this one was run",
            ) from error
        raise InputError(
            "unreadable-checkpoint",
            path,
            "expected a file that torch.save wrote, got a damaged one or another kind of file",
            "copy it again, or name another",
        ) from error
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


def _foreign(path: Path) -> str:
    """Return the names of what a file would call, as far as torch can tell without calling it."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # an old format, or a damaged one
        names = []
    known = {f"{getattr(entry, '__module__', '')}.{getattr(entry, '__name__', '')}" for entry in _SAFE}
    return ", ".join(sorted(set(names) - known)) or "something else"


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
