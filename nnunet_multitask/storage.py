"""Bytes on disk: reading what is there, writing all or nothing."""

from __future__ import annotations

import errno
import fcntl
import glob
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nnunet_multitask.errors import InputError

logger = logging.getLogger(__name__)

_FICLONE = 0x40049409  # of linux/fs.h
_COPY_BYTES = 1 << 20

_WRITING_REMEDIES = {
    errno.ENOSPC: "free some space, or choose another place",
    errno.EDQUOT: "free some of your quota, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "make the folder writable, or choose another place",
    errno.EPERM: "make the folder writable, or choose another place",
}


def read_bytes(path: Path, limit: int = -1) -> bytes:
    """Return the bytes of a file, at most ``limit`` of them where it is not negative.

    Raises:
        InputError: no such file, a folder, not readable, or empty.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit)
    except OSError as error:
        raise _not_readable(path, error) from error
    if not content:
        raise InputError("empty-file", path, "expected content, got 0 bytes", "copy the file again")
    return content


def copy_file(source: str | Path, destination: str | Path, link: bool = False) -> None:
    """Copy the content of a file, sharing its blocks where the file system can (reflink).

    Nothing of the source but its content is taken over, so that a read-only source gives a writable copy.

    Args:
        source: a file; a symbolic link is followed.
        destination: must not exist; its folder must. A copy that fails may leave a part: copy inside
            ``atomic_directory`` or ``atomic_file``.
        link: make a hard link instead: no space is taken, but who changes one file then changes both.

    Raises:
        InputError: the source cannot be read, the destination exists or cannot be written, or a hard link cannot be
            made.
    """
    source, destination = Path(source), Path(destination)
    if os.path.lexists(destination):
        fault = "expected no such file, found one"
        raise InputError("already-exists", destination, fault, "remove it, or choose another name")
    try:
        content = source.open("rb")
    except OSError as error:
        raise _not_readable(source, error) from error
    with content:
        if link:
            _hard_link(source, destination)
            return
        with writing_errors(destination), destination.open("xb") as copy:
            if not _reflink(content.fileno(), copy.fileno()):
                shutil.copyfileobj(content, copy, _COPY_BYTES)


def _hard_link(source: Path, destination: Path) -> None:
    try:
        os.link(os.path.realpath(source), destination)  # of the file itself, not of a symbolic link to it
    except OSError as error:
        fault = f"expected to make a hard link at {destination}, got: {error.strerror}"
        raise InputError("no-hard-link", source, fault, "copy: leave out --link") from error


def _reflink(source: int, destination: int) -> bool:
    try:
        fcntl.ioctl(destination, _FICLONE, source)
    except OSError:
        return False
    return True


@contextmanager
def writing_errors(path: str | Path) -> Iterator[None]:
    """Turn what the system says against writing ``path`` (disk full, read-only) into an InputError with a remedy."""
    try:
        yield
    except OSError as error:
        remedy = _WRITING_REMEDIES.get(error.errno or 0, "mend the place, or choose another one")
        fault = f"expected to write it, got: {error.strerror or error}"
        raise InputError("cannot-write", path, fault, remedy) from error


def check_writable(folder: str | Path) -> None:
    """Refuse a folder into which nothing can be written; one that is not there yet is not made.

    Raises:
        InputError: it, or the folder in which it would be made, cannot be written, or it is a file.
    """
    folder = Path(folder)
    with writing_errors(folder):
        place = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file name beside ``path``; rename it to ``path`` on success, remove it on failure.

    The temporary name keeps the ending of the file, since image writers choose the format by it. Missing parent
    folders are made.

    Raises:
        InputError: the system lets nobody write there, before or while the block does.
    """
    path = Path(path)
    temporary = _temporary_sibling(path)
    with writing_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it to ``path`` on success, remove it on failure.

    Temporary folders that killed processes left of the same ``path`` are removed first. The folder is locked as long as
    its process lives, which tells the one from the other (where the file system knows no locks, they stay).

    Args:
        path: the folder to appear.
        overwrite: replace an existing folder, after the new one is complete.

    Raises:
        InputError: the folder exists and may not be replaced, another process is making it, or it cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError("already-exists", path, "expected no such folder, found one", "use --overwrite to replace it")
    with writing_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        temporary = _temporary_sibling(path)
        temporary.mkdir()
    lock = os.open(temporary, os.O_RDONLY)
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield temporary
        with writing_errors(path):
            _move_into_place(temporary, path)
    finally:
        os.close(lock)
        shutil.rmtree(temporary, ignore_errors=True)


def _move_into_place(temporary: Path, path: Path) -> None:
    if not path.exists():
        temporary.rename(path)
        return
    replaced = _temporary_sibling(path)
    path.rename(replaced)
    temporary.rename(path)
    shutil.rmtree(replaced)


def _remove_leftovers(path: Path) -> None:
    for leftover in path.parent.glob(f".tmp-{'[0-9a-f]' * 8}-{glob.escape(path.name)}"):
        if leftover.is_symlink() or not leftover.is_dir():
            continue
        lock = os.open(leftover, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            fault = f"expected nobody else to make it, another process does in {leftover.name}"
            raise InputError("in-use", path, fault, "wait until it has ended, or end it") from error
        except OSError:
            logger.info("%s is left of another run; remove it where none is at work", leftover)
        else:
            shutil.rmtree(leftover)
        finally:
            os.close(lock)


def _temporary_sibling(path: Path) -> Path:
    return path.with_name(f".tmp-{secrets.token_hex(4)}-{path.name}")


def _not_readable(path: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError("missing-file", path, "expected a file, found none", "check the path")
    fault = f"expected a readable file, got: {error.strerror}"
    return InputError("unreadable-file", path, fault, "check the path")
