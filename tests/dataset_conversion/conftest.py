"""DICOM files made by the tests."""

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
