"""From the labels of dataset.json to the regions that are scored one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.errors import InputError

FOREGROUND = "foreground"


@dataclass(frozen=True)
class Regions:
    """Regions by name, each a set of mask values, and the values that may occur at all.

    Args:
        values: region name to mask values; "foreground", the union of all, comes last.
        ignore: mask value of voxels that are not scored, or None.
    """

    values: Mapping[str, tuple[int, ...]]
    ignore: int | None = None

    @classmethod
    def from_labels(cls, labels: Mapping[str, int | list[int]]) -> Regions:
        """Make the regions of a dataset.

        Args:
            labels: as in dataset.json. Value 0 and the name "ignore" are not scored.

        Raises:
            InputError: no label is left to score, or a label called "foreground" is not the union of all.
        """
        values = {
            name: tuple(sorted({v for v in (value if isinstance(value, list) else [value]) if v != 0}))
            for name, value in labels.items()
            if name != "ignore"
        }
        values = {name: region for name, region in values.items() if region}
        if not values:
            raise InputError("no-labels", "labels", f"expected a label above 0, got {dict(labels)}", "declare one")
        union = tuple(sorted({v for region in values.values() for v in region}))
        if values.pop(FOREGROUND, union) != union:
            raise InputError(
                "reserved-label",
                f"labels: {FOREGROUND}",
                f'expected "{FOREGROUND}" to be all labels together {list(union)}, got {labels[FOREGROUND]}',
                "rename the label: this name is used for all labels together",
            )
        ignore = labels.get("ignore")
        return cls({**values, FOREGROUND: union}, ignore if isinstance(ignore, int) else None)

    @property
    def allowed_in_prediction(self) -> set[int]:
        """Mask values that a prediction may hold."""
        return {0, *self.values[FOREGROUND]}

    @property
    def allowed_in_reference(self) -> set[int]:
        """Mask values that a reference may hold."""
        return self.allowed_in_prediction | ({self.ignore} if self.ignore is not None else set())

    def mask(self, array: NDArray[np.integer], name: str) -> NDArray[np.bool_]:
        """Return where an integer mask (*S) holds one of the values of a region, (*S) bool."""
        values = self.values[name]
        if name == FOREGROUND and self.ignore is None:
            return array > 0
        if len(values) == 1:
            return array == values[0]
        return np.isin(array, values)
