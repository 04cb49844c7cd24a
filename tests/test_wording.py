"""Numbers with their nouns."""

from __future__ import annotations

from nnunet_multitask.wording import counted


def test_counted() -> None:
    assert [counted(number, "test case") for number in (0, 1, 2)] == ["0 test cases", "1 test case", "2 test cases"]
