"""The column of sampling weights in a class table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nnunet_multitask.dataset_conversion.columns import as_number, known_value
from nnunet_multitask.dataset_conversion.tables import Row
from nnunet_multitask.errors import InputError, InputErrors

WEIGHT_COLUMN = "sampling_weight"  # not "weight", which in a table of patients is that of the body
_LARGEST = 1e6


def read_weights(path: Path, rows: Mapping[str, Row]) -> dict[str, float]:
    """Return the sampling weights of the cases that have one in the column ``WEIGHT_COLUMN``.

    Args:
        path: the table, for messages.
        rows: by case id.

    Raises:
        InputErrors: every value that is no number above 0, or above a million.
    """
    weights, errors = {}, []
    for case_id, row in rows.items():
        text = known_value(row, WEIGHT_COLUMN)
        weight = None if text is None else as_number(text)
        if weight is not None and 0 < weight <= _LARGEST:
            weights[case_id] = int(weight) if weight == int(weight) else weight
        elif text is not None:
            fault = f"expected a number above 0 and up to a million as {WEIGHT_COLUMN}, got {text[:40]!r}"
            errors.append(InputError("bad-weight", f"{path}: {row.place}", fault, "correct it, or leave it empty"))
    if errors:
        raise InputErrors(errors)
    return weights
