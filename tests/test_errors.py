"""Errors that are collected instead of raised."""

from __future__ import annotations

import pytest

from nnunet_multitask.errors import InputError, InputErrors, collecting

FIRST, SECOND, THIRD = (InputError(code, "file", "fault", "remedy") for code in ("a", "b", "c"))


def test_faults_of_a_block_are_collected() -> None:
    errors: list[InputError] = []
    with collecting(errors):
        raise FIRST
    with collecting(errors):
        pass
    with collecting(errors):
        raise InputErrors([SECOND, THIRD])
    assert errors == [FIRST, SECOND, THIRD]


def test_other_exceptions_pass() -> None:
    errors: list[InputError] = []
    with pytest.raises(KeyError), collecting(errors):
        raise KeyError("x")
    assert errors == []
