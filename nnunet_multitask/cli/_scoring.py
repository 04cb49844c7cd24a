"""What ``evaluate`` and ``compare`` share: options, and where labels and file ending come from."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_multitask.errors import InputError

if TYPE_CHECKING:
    from nnunet_multitask.evaluation.dataset_json import DatasetInfo
    from nnunet_multitask.labels import LabelSidecar


def add_shared_arguments(parser: argparse.ArgumentParser, *, reference_required: bool = True) -> None:
    """Add the options that both subcommands have."""
    parser.add_argument(
        "--reference",
        type=Path,
        required=reference_required,
        metavar="DIR",
        help="reference masks; they say which cases are scored",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="class_labels.json with the true classes; without it, masks only"
    )
    parser.add_argument(
        "--dataset-json",
        type=Path,
        metavar="FILE",
        help="dataset.json with labels and file ending (default: the one beside --reference, else in the predictions)",
    )
    parser.add_argument(
        "--geometry-tolerance-mm",
        type=not_negative,
        default=1e-3,
        metavar="MM",
        help="how far the corners of prediction and reference may lie apart (default: %(default)s)",
    )
    parser.add_argument(
        "--num-workers",
        type=positive_count,
        default=min(8, os.cpu_count() or 1),
        metavar="N",
        help="processes that score cases (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON on standard output")


def read_dataset_info(args: argparse.Namespace, prediction_dirs: Sequence[Path]) -> DatasetInfo:
    """Return labels and file ending of the dataset that is scored."""
    from nnunet_multitask.evaluation.dataset_json import find_dataset_json, read_dataset_json

    for folder in (args.reference, *prediction_dirs):
        if not folder.is_dir():
            raise InputError("missing-folder", folder, "expected a folder of masks, found none", "check the path")
    return read_dataset_json(args.dataset_json or find_dataset_json(args.reference, prediction_dirs))


def read_labels(args: argparse.Namespace) -> LabelSidecar | None:
    """Return the sidecar that was named, if any."""
    from nnunet_multitask.labels import read_sidecar

    return None if args.labels is None else read_sidecar(args.labels)


def text_of(value: float | None, digits: int = 3) -> str:
    """Return a number for a table on the terminal."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def not_negative(text: str) -> float:
    """Return a finite number of 0 or more, for argparse."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {text}")
    return value


def above_zero(text: str) -> float:
    """Return a finite number above 0, for argparse."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def positive_count(text: str) -> int:
    """Return a whole number of 1 or more, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value
