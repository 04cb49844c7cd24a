"""Which cases models are compared over: the same for all of them, or by option those that all predicted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.datasets import list_cases
from nnunet_multitask.errors import InputError, InputErrors


def choose_cases(
    reference_dir: str | Path,
    folders: Mapping[str, Path],
    file_ending: str,
    *,
    case_ids: Collection[str] | None = None,
    intersection: bool = False,
) -> tuple[list[str], dict[str, Any]]:
    """Return the cases that are scored, and what comparison.json says of them.

    Args:
        reference_dir: reference masks.
        folders: predictions by name of the model.
        file_ending: of the masks.
        case_ids: cases to look at; None: all that have a reference.
        intersection: leave out the cases that only some of the models predicted.

    Returns:
        Case ids in sorted order, and {"rule": "same" or "intersection", "scored": n, "left_out": by model the cases
        that it alone or with others did not predict, and another did}. A case that no model predicted is scored: as
        missed by all.

    Raises:
        InputError: there is no such folder, or no case that every model predicted.
        InputErrors: models that predicted different cases, where there is no intersection; their means would be over
            different patients.
    """
    found = list_cases(reference_dir, file_ending)
    references = set(found) if case_ids is None else set(found) & set(case_ids)
    predicted = {name: references & set(list_cases(folder, file_ending)) for name, folder in folders.items()}
    union: set[str] = set().union(*predicted.values())
    absent = {name: sorted(union - cases) for name, cases in predicted.items() if union - cases}
    if absent and not intersection:
        raise InputErrors([_different(folders[name], len(union), cases) for name, cases in absent.items()])
    shared = set.intersection(*predicted.values())
    if union and not shared:
        fault = f"expected cases that all of {', '.join(folders)} predicted, got none among {len(union)}"
        raise InputError("empty-intersection", reference_dir, fault, "predict the same cases with each")
    scored = sorted(references - (union - shared))
    return scored, {"rule": "intersection" if absent else "same", "scored": len(scored), "left_out": absent}


def _different(folder: Path, expected: int, absent: list[str]) -> InputError:
    shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
    fault = f"expected predictions of the {expected} cases that another model predicted, {len(absent)} are absent"
    remedy = "predict the same cases with each, or compare over those that all predicted: --intersection"
    return InputError("different-case-sets", folder, f"{fault}: {shown}", remedy)
