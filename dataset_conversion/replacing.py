"""Folders that appear whole or not at all: what may be replaced, what a killed run left, what a full disk says."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_multitask.errors import InputError

_REMEDIES = {
    errno.ENOSPC: "free some space, or choose another place",
    errno.EDQUOT: "free some of your quota, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "make the folder writable, or choose another place",
    errno.EPERM: "make the folder writable, or choose another place",
}


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


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Turn what the system says against writing (disk full, read-only) into an InputError with a remedy.

    Args:
        path: what is being written.
    """
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "mend the place, or choose another one")
        fault = f"expected to write it, got: {error.strerror or error}"
        raise InputError("cannot-write", path, fault, remedy) from error


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
