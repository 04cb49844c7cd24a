"""Writing files and folders all or nothing; copies."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.storage import atomic_directory, atomic_file, copy_file, writing_errors


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


# --- copies


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.nii.gz"
    path.write_bytes(bytes(range(256)) * 9000)  # more than one buffer
    return path


def test_copy_is_a_file_of_its_own(tmp_path: Path, source: Path) -> None:
    source.chmod(0o444)
    content = source.read_bytes()
    copy_file(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    (tmp_path / "copy").write_bytes(b"changed")  # though the source is read-only
    assert source.read_bytes() == content
    assert source.stat().st_nlink == 1


def test_copy_of_an_empty_file_and_through_a_link(tmp_path: Path, source: Path) -> None:
    (tmp_path / "empty").touch()
    copy_file(tmp_path / "empty", tmp_path / "copy of empty")
    assert (tmp_path / "copy of empty").stat().st_size == 0
    (tmp_path / "link").symlink_to(source)
    for link in (False, True):
        copy_file(tmp_path / "link", tmp_path / f"copy {link}", link=link)
        assert not (tmp_path / f"copy {link}").is_symlink()
        assert (tmp_path / f"copy {link}").read_bytes() == source.read_bytes()


def test_hard_link_only_where_it_is_asked_for(tmp_path: Path, source: Path) -> None:
    copy_file(source, tmp_path / "linked", link=True)
    assert (tmp_path / "linked").samefile(source)
    copy_file(source, tmp_path / "copied")
    assert not (tmp_path / "copied").samefile(source)


def test_blocks_are_shared_where_the_file_system_can(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = []

    def clone(destination: int, request: int, origin: int) -> int:
        requests.append(request)
        return os.write(destination, b"shared" if os.fstat(origin).st_size == source.stat().st_size else b"wrong")

    monkeypatch.setattr(fcntl, "ioctl", clone)
    copy_file(source, tmp_path / "copy")
    assert requests == [0x40049409]  # FICLONE
    assert (tmp_path / "copy").read_bytes() == b"shared"  # and nothing was copied besides


def test_what_cannot_be_copied(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for link in (False, True):
        with pytest.raises(InputError, match=r"\[missing-file\] .*none: expected a file, found none"):
            copy_file(tmp_path / "none", tmp_path / "copy", link=link)
        with pytest.raises(InputError, match=r"\[unreadable-file\] .*got: Is a directory"):
            copy_file(tmp_path, tmp_path / "copy", link=link)
        with pytest.raises(InputError, match=r"\[unreadable-file\] .*loop: .*symbolic links"):
            copy_file(tmp_path / "loop", tmp_path / "copy", link=link)
        with pytest.raises(InputError, match=r"\[already-exists\]"):
            copy_file(source, source, link=link)
    assert not (tmp_path / "copy").exists()

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(InputError, match=r"\[no-hard-link\] .*got: Invalid cross-device link -> copy: leave out"):
        copy_file(source, tmp_path / "copy", link=True)
