"""The writer: a dry run, a full disk and a failed run leave what was there."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from raw_source import QUIET, Reader, files, make_case, make_source

from nnunet_multitask.dataset_conversion.raw_writer import write_dataset
from nnunet_multitask.dataset_conversion.sources import Conversion
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.labels import Case


def test_dry_run_says_the_same_and_writes_nothing(root: Path, folder: Path) -> None:
    source = make_source(root, make_case(root, 0), make_case(root, 1, mask=None))
    dry = write_dataset(source, folder, replace(QUIET, dry_run=True))
    assert list(folder.parent.iterdir()) == []
    assert not dry.written
    assert dry == Conversion(folder, write_dataset(source, folder, QUIET).report, written=False)


def test_dry_run_finds_the_faults(root: Path, folder: Path) -> None:
    cases = [make_case(root, 0), make_case(root, 1, case=Case({"kind": "EDH"}))]
    with pytest.raises(InputErrors, match=r"\[unknown-class\] class_labels.json: cases/case_1"):
        write_dataset(make_source(root, *cases), folder, replace(QUIET, dry_run=True))
    cases[1].images[0].write_bytes(b"text")
    with pytest.raises(InputErrors, match=r"case_1.nii.gz"):
        write_dataset(make_source(root, *cases), folder, replace(QUIET, dry_run=True))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to write files beyond a size, as it refuses on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("reader", [None, Reader()], ids=["copied", "written anew"])
def test_what_the_system_says_against_writing(root: Path, folder: Path, reader: Reader | None) -> None:
    source = make_source(root, make_case(root, 0, reader=reader))
    with (
        largest_file(50),
        pytest.raises(InputError, match=r"\[cannot-write\] .*imagesTr/case_0_0000.nii.gz: .*got: File too large -> "),
    ):
        write_dataset(source, folder, QUIET)
    assert list(folder.parent.iterdir()) == []
    write_dataset(source, folder, QUIET)


def test_failed_run_leaves_the_old_dataset(root: Path, folder: Path) -> None:
    source = make_source(root, make_case(root, 0))
    write_dataset(source, folder, QUIET)
    before = files(folder)
    source.cases[0].images[0].write_bytes(b"damaged")
    with pytest.raises(InputErrors, match=r"case_0.nii.gz"):
        write_dataset(source, folder, replace(QUIET, overwrite=True))
    assert files(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
