"""What the network says of a case: over tiles, mirrors and folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnunet_multitask.inference.aggregation import Floats, aggregate
from nnunet_multitask.inference.tiles import CaseTiles
from nnunet_multitask.labels import Target


@dataclass(frozen=True)
class CasePrediction:
    """What the network says of one case, as its outputs: one of a binary target, else one a class.

    Attributes:
        by_fold: for each target the probabilities that each fold gives, (folds, outputs).
        by_mirror: for each target the probabilities of each mirroring, the mean over folds, (mirrors, outputs).
        seconds: time of all forward passes.
        tiles: where they came from; None where they are not kept.
    """

    by_fold: Mapping[str, Floats]
    by_mirror: Mapping[str, Floats]
    seconds: float
    tiles: CaseTiles | None = None

    @property
    def probabilities(self) -> dict[str, Floats]:
        """For each target (outputs,), the mean over folds."""
        return {name: values.mean(axis=0) for name, values in self.by_fold.items()}


def predict_case(
    tiles: CaseTiles, targets: Mapping[str, Target], aggregations: Mapping[str, str], seconds: float
) -> CasePrediction:
    """Return what the tiles say of their case.

    A fold's probability comes from tiles whose mirrored predictions were averaged first; that of a mirroring from the
    tiles as this mirroring saw them, with the same weights.

    Args:
        tiles: of all folds.
        targets: by name.
        aggregations: by target, one of ``aggregation.NAMES``.
        seconds: time of all forward passes.
    """
    by_fold: dict[str, Floats] = {}
    by_mirror: dict[str, Floats] = {}
    for name, target in targets.items():
        kind = aggregations[name]
        by_fold[name] = np.stack(
            [aggregate(kind, target, f.probabilities[name].mean(axis=1), f.weights) for f in tiles.folds]
        )
        mirrors = [
            [aggregate(kind, target, part, f.weights) for part in np.moveaxis(f.probabilities[name], 1, 0)]
            for f in tiles.folds
        ]  # folds, mirrors, (outputs,)
        by_mirror[name] = np.mean(mirrors, axis=0)
    return CasePrediction(by_fold, by_mirror, seconds, tiles)
