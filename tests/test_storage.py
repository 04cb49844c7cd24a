"""Writing files and folders all or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_multitask.errors import InputError
from nnunet_multitask.storage import atomic_directory, atomic_file


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
