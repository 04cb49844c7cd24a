"""Which row of a class table and which mask belong to which image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_multitask.dataset_conversion.layouts import CHANNEL_HINT, Layout, ending_of
from nnunet_multitask.errors import InputError
from nnunet_multitask.wording import counted

_REMEDY = "correct the table or the files, or use --allow-missing"
_NAMED_CASES = 3  # that a warning lists


@dataclass(frozen=True)
class TableEntry:
    """One entry of a table.

    Args:
        name: what it calls the case, with or without the ending of a file.
        place: where it stands in the table.
    """

    name: str
    place: str


def match_cases(
    table: Path, entries: Sequence[TableEntry], layout: Layout, *, allow_missing: bool
) -> tuple[dict[str, int], list[str], list[InputError]]:
    """Return the index of the entry for each case, warnings, and errors.

    Args:
        table: for messages.
        entries: of the table.
        layout: the images.
        allow_missing: images without entry are taken (their classes are unknown), and entries without image are passed
            over, each with a warning. Test images, whose classes are often kept secret, need no entry; one warning
            counts those without.

    Returns:
        The index of the entry for each case that has one; what a user should know; and the errors: a case twice, and
        without ``allow_missing`` an entry without image, an image without entry.
    """
    found: dict[str, int] = {}
    errors: list[InputError] = []
    warnings: list[str] = []
    similar = _by_likeness(layout.cases)
    for index, entry in enumerate(entries):
        case_id = entry.name.removesuffix(ending_of(entry.name))
        place = f"{table}: {entry.place}"
        if case_id in found:
            fault = f"expected each case once, {_shown(case_id)} is also in {entries[found[case_id]].place}"
            errors.append(InputError("duplicate-case", place, fault, "remove one of the rows"))
        elif case_id in layout.cases:
            found[case_id] = index
        elif allow_missing:
            text = f"{entry.place} of the table: there is no image of {case_id[:80]!r}; it is passed over"
            warnings.append(text + _guess(case_id, similar, "; the image {} is similar"))
        else:
            fault = f"expected an image of {case_id[:80]!r}, found none"
            hint = f"; {CHANNEL_HINT}" if re.fullmatch(r".+_\d{4}", case_id) else ""
            guess = _guess(case_id, similar, "; did you mean {}?")
            errors.append(InputError("missing-image", place, fault, _REMEDY + guess + hint))
    without = sorted(set(layout.cases) - set(found))
    test = [case_id for case_id in without if layout.cases[case_id].in_test_folder]
    if test:
        some = ", ".join(test[:_NAMED_CASES]) + (", ..." if len(test) > _NAMED_CASES else "")
        warnings.append(f"{counted(len(test), 'test image')} without row in {table.name}, of unknown class: {some}")
    for case_id in sorted(set(without) - set(test)):
        image = layout.cases[case_id].images[0]
        if allow_missing:
            warnings.append(f"{case_id}: the table does not name it; its class is unknown")
        else:
            fault = f"expected a row of {table.name} for the case {case_id}, found none"
            is_cut = image.name.removesuffix(ending_of(image)) != case_id
            hint = f"; {CHANNEL_HINT}" if is_cut else ""
            errors.append(InputError("missing-row", image, fault, _REMEDY + hint))
    return found, warnings, errors


def check_masks(layout: Layout, *, allow_missing: bool, allow_label_only: bool) -> tuple[list[InputError], list[str]]:
    """Return what is wrong with the masks of the cases, and warnings.

    Args:
        layout: the images and masks.
        allow_missing: masks without image are passed over, with a warning.
        allow_label_only: cases without mask are taken. Images in a folder of test images need none anyway.
    """
    errors: list[InputError] = []
    warnings: list[str] = []
    orphans = {path.name.removesuffix(ending_of(path)): path for path in layout.masks_without_image}
    for case_id, case in sorted(layout.cases.items()):
        if case.mask is not None or case.in_test_folder or allow_label_only:
            continue
        numbered = orphans.pop(f"{case_id}_0000", None)
        remedy = "add it, or use --allow-label-only: segmentation is not trained on it then"
        if numbered is not None:
            remedy = f"rename {numbered.name} to {case.mask_place.name}: a mask has no channels"
        errors.append(InputError("missing-mask", case.mask_place, "expected a mask, found none", remedy))
    for mask in orphans.values():
        if allow_missing:
            warnings.append(f"{mask.name}: a mask without image; it is passed over")
        else:
            fault = "expected an image of this mask, found none"
            errors.append(InputError("missing-image", mask, fault, "add the image, or use --allow-missing"))
    return errors, warnings


def _by_likeness(names: Iterable[str]) -> dict[str, str]:
    return {_likeness(name): name for name in names}


def _likeness(name: str) -> str:
    """Return a name without what spreadsheets change: leading zeros, upper and lower case, blanks."""
    return re.sub(r"\d+", lambda digits: digits[0].lstrip("0") or "0", "".join(name.lower().split()))


def _guess(case_id: str, similar: dict[str, str], text: str) -> str:
    name = similar.get(_likeness(case_id))
    return "" if name is None else text.format(repr(name))


def _shown(case_id: str) -> str:
    return case_id if re.fullmatch(r"[\w.+-]{1,80}", case_id) else repr(case_id[:80])
