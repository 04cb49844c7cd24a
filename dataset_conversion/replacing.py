"""Which existing folder a converter may replace: an empty one, or one that it wrote itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from nnunet_multitask.errors import InputError


def check_replaceable(path: Path, overwrite: bool, expected: str, is_own: Callable[[Path], bool]) -> None:
    """Check that a folder is absent, or may be replaced.

    Args:
        path: the folder to be written.
        overwrite: the user allows to replace it.
        expected: what may be replaced, for messages.
        is_own: whether an existing folder is such a thing.

    Raises:
        InputError: it exists without ``overwrite``, or it is neither empty nor the converter's own work.
    """
    if not os.path.lexists(path):
        return
    kind = _foreign_kind(path, is_own)
    if kind is not None:
        remedy = "move it away, or choose another place"
        raise InputError("already-exists", path, f"expected nothing or {expected}, got {kind}", remedy)
    if not overwrite:
        fault = "expected no such folder, found one"
        raise InputError("already-exists", path, fault, "use --overwrite to replace it")


def _foreign_kind(path: Path, is_own: Callable[[Path], bool]) -> str | None:
    """Return what the path is in words, or None for a folder that may be replaced."""
    if path.is_symlink():
        return "a symbolic link"
    if not path.is_dir():
        return "a file"
    try:
        if not any(path.iterdir()) or is_own(path):
            return None
    except OSError as error:
        return f"a folder that cannot be read ({error.strerror})"
    return "a folder with other files"
