"""Checkpoints with a program in them."""

from __future__ import annotations

import os
from pathlib import Path

import torch


class Payload:
    """Makes a folder where it is unpickled, as often as one likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str, int, bool]]:
        return os.makedirs, (str(self.folder), 0o777, True)


def poison(checkpoint: Path, made: Path) -> Path:
    """Add a payload to a checkpoint that makes the folder ``made``, and return the checkpoint."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=False)
    torch.save({**content, "comment": Payload(made)}, checkpoint)
    return checkpoint
