"""What plans may be called: their name is that of a file, and a part of the name of the model's folder."""

from __future__ import annotations

import re

from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import SIDECAR_NAME

# what nnU-Net and this package keep beside the plans
OTHER_DOCUMENTS = ("dataset.json", "dataset_fingerprint.json", "splits_final.json", SIDECAR_NAME)


def check_plans_name(name: str, where: str) -> None:
    """Refuse a name that leads elsewhere, that parts the name of a model in other places, or that is taken.

    Args:
        name: of the plans, without ending.
        where: the option, for the message.

    Raises:
        InputError: other characters than letters, digits, - and single _, or the name of another document.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or "__" in name:
        raise InputError("bad-name", where, f"expected letters, digits, - and single _, got {name!r}", "rename")
    if f"{name}.json" in OTHER_DOCUMENTS:
        fault = f"expected a name for plans, got that of another document, {name}.json"
        raise InputError("bad-name", where, fault, "choose another")
