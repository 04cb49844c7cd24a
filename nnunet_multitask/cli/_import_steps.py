"""Imports, one after the other, what training needs, and reports each step as a line of JSON on stdout.

``nnunet-multitask env`` runs it as a process of its own, because a broken library may raise anything, or crash.
Each line is ``{"step": ..., "value": ...}``, or ``{"step": ..., "error": ...}`` for the last one where it failed.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

TRAINER = "nnUNetTrainerMultiTask"


def main() -> int:
    """Take the steps up to the first that fails, since each needs those before it; return 0 where none failed."""
    warnings.simplefilter("ignore")
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print on stdout must not mix with the report
    for step, take in STEPS.items():
        try:
            answer = {"value": take()}
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"step": step, **answer}), file=report, flush=True)
        if "error" in answer:
            return 1
    return 0


def _torch() -> dict[str, Any]:
    torch = importlib.import_module("torch")
    available = bool(torch.cuda.is_available())
    return {"cuda": available, "device": torch.cuda.get_device_name(0) if available else None}


def _importing(name: str) -> Callable[[], None]:
    def take() -> None:
        importlib.import_module(name)

    return take


def _trainer() -> str:
    find_objects = importlib.import_module("nnunetv2.utilities.find_objects")
    trainer = find_objects.recursive_find_trainer_class_by_name(TRAINER)
    return f"{trainer.__module__}.{trainer.__qualname__}"


STEPS: dict[str, Callable[[], Any]] = {
    "torch": _torch,
    "torchvision": _importing("torchvision"),
    "timm": _importing("timm"),
    "nnunetv2": _importing("nnunetv2"),
    "trainer": _trainer,
}

if __name__ == "__main__":
    sys.exit(main())
