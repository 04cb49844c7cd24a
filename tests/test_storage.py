"""Writing files and folders all or nothing."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.storage import atomic_directory, atomic_file, writing_errors


def test_atomic_file_keeps_the_old_content_on_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_text("old")

    def write_half() -> None:
        with atomic_file(path) as temporary:
            assert temporary.name.endswith(".nii.gz")
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_directory(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with atomic_directory(path) as temporary:
        (temporary / "a").write_text("1")
        assert not path.exists()
    with pytest.raises(InputError, match=r"\[already-exists\] .*--overwrite"), atomic_directory(path):
        pass
    with pytest.raises(RuntimeError, match="stop"), atomic_directory(path, overwrite=True) as temporary:
        raise RuntimeError("stop")
    assert (path / "a").read_text() == "1"
    with atomic_directory(path, overwrite=True) as temporary:
        (temporary / "b").write_text("2")
    assert [file.name for file in path.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "out"
    (tmp_path / ".tmp-0123abcd-out").mkdir()
    (tmp_path / ".tmp-0123abcd-out" / "half").touch()
    others = [".tmp-0123abcd-out2", ".tmp-mine-out", "tmp-0123abcd-out"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / ".tmp-4567abcd-out").symlink_to(tmp_path / others[0])
    with atomic_directory(path):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["out", ".tmp-4567abcd-out", *others])


def test_what_another_process_is_making_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with (
        atomic_directory(path) as temporary,
        pytest.raises(InputError, match=r"\[in-use\] .*out: expected nobody else to make it.* -> wait until"),
        atomic_directory(path),
    ):
        pass
    assert path.is_dir()
    assert not temporary.exists()
    lock = os.open(path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the finished folder is nobody's
    os.close(lock)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, r"got: No space left on device -> free some space"),
        (errno.EROFS, r"got: Read-only file system -> choose a place that can be written"),
        (errno.EIO, r"got: Input/output error -> mend the place"),
    ],
)
def test_what_the_system_says_against_writing(tmp_path: Path, number: int, text: str) -> None:
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    with (
        pytest.raises(InputError, match=rf"\[cannot-write\] .*out: expected to write it, {text}"),
        writing_errors(tmp_path / "out"),
    ):
        fail()
    with pytest.raises(InputError, match=r"\[cannot-write\] .*a.json"), atomic_file(tmp_path / "a.json"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"\[cannot-write\] .*file/out"), atomic_directory(tmp_path / "file" / "out"):
        pass
    with pytest.raises(InputError, match=r"\[cannot-write\] .*file/a"), atomic_file(tmp_path / "file" / "a"):
        pass
