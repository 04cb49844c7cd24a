"""Words of messages."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s unless there is one: ``1 case``, ``0 cases``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
