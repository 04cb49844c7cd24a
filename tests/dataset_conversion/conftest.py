"""DICOM files made by the tests, and the folders between which the writer is tested."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dicom_files
import pytest


@pytest.fixture
def write_dicom() -> Callable[..., Path]:
    return dicom_files.write_dicom


@pytest.fixture
def dicom_secrets() -> dict[str, str]:
    """What every file written here holds of its patient."""
    return dicom_files.SECRETS


@pytest.fixture
def write_series() -> Callable[..., list[Path]]:
    return dicom_files.write_series


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the cases of ``raw_source`` lie."""
    return tmp_path / "source"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The dataset that the writer is to write, in a folder that is there and empty."""
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw" / "Dataset007_Own"
