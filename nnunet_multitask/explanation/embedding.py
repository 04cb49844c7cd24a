"""t-SNE of the fused features of cases, before training and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_multitask.csv_files import write_csv
from nnunet_multitask.errors import InputError
from nnunet_multitask.explanation.volumes import FoldView
from nnunet_multitask.inference.aggregation import TileWeights

MIN_CASES = 5
PERPLEXITY = 30.0  # scikit-learn's, of van der Maaten and Hinton 2008: 5 to 50
BEFORE, AFTER = "before", "after"
SEED = 0

Points = Mapping[str, NDArray[np.floating]]  # by BEFORE and AFTER


def case_vector(view: FoldView, aggregation: str) -> NDArray[np.floating]:
    """Return the fused features of a case: ``sum_t w_t v_t / sum_t w_t`` over its tiles.

    With the weights that the aggregation gives the tiles' probabilities: 1 for ``mean``, what a tile contributes to the
    segmentation for ``gaussian``, predicted foreground + 1 voxels for ``lesion``. The others have no such weights of
    tiles, or fitted ones that an untrained network has not; there it is those of ``gaussian``.

    Args:
        view: of one network.
        aggregation: name of the aggregation.

    Returns:
        (D,).
    """
    weights = _tile_weights(view.weights, aggregation)
    return np.asarray((weights[:, None] * view.vectors).sum(axis=0) / weights.sum())


def perplexity_of(num_cases: int) -> float:
    """Return the perplexity for so many points: 30, but a third of the neighbours where these are fewer than 90."""
    return min(PERPLEXITY, (num_cases - 1) / 3)


def check_enough(num_cases: int, where: str) -> None:
    """Refuse fewer than ``MIN_CASES`` cases, whose neighbourhoods say nothing.

    Raises:
        InputError: there are fewer.
    """
    if num_cases < MIN_CASES:
        fault = f"expected {MIN_CASES} cases or more for t-SNE, got {num_cases}"
        raise InputError("too-few-cases", where, fault, "give more images, or use --no-tsne")


def embed(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the t-SNE (van der Maaten and Hinton 2008) of feature vectors (N, D), (N, 2).

    Features are standardised over the cases (a constant one becomes 0). Begun from the first two principal components,
    with a fixed seed: the same vectors give the same points. Axes have no unit and no meaning.

    Raises:
        InputError: fewer than ``MIN_CASES``.
    """
    from sklearn.manifold import TSNE

    check_enough(len(vectors), "features")
    spread = vectors.std(axis=0)
    standard = (vectors - vectors.mean(axis=0)) / np.where(spread > 0, spread, 1)
    tsne = TSNE(perplexity=perplexity_of(len(vectors)), init=_principal(standard), random_state=SEED)
    return np.asarray(tsne.fit_transform(standard.astype(np.float32)), np.float64)


def write_points(path: Path, case_ids: Sequence[str], labels: Mapping[str, Sequence[str]], points: Points) -> None:
    """Write one row a case and network: case, network (before, after), x, y, then the label of each target.

    Args:
        path: the file.
        case_ids: N cases.
        labels: by target the N labels; an empty text where it is not known.
        points: by network (N, 2).
    """
    rows = [
        [case_id, network, *(round(float(value), 6) for value in found[index]), *(labels[n][index] for n in labels)]
        for network, found in points.items()
        for index, case_id in enumerate(case_ids)
    ]
    write_csv(path, ["case_id", "network", "x", "y", *labels], rows)


def _tile_weights(weights: TileWeights, aggregation: str) -> NDArray[np.floating]:
    if aggregation == "mean":
        return np.ones(len(weights.importance))
    if aggregation == "lesion":
        return weights.foreground_voxels + 1.0
    return weights.importance


def _principal(standard: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the first two principal components, as large as t-SNE wants its start; signs made definite."""
    left, values, right = np.linalg.svd(standard, full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    components = (left * values * np.where(signs == 0, 1, signs))[:, :2]
    if components.shape[1] < 2:
        components = np.pad(components, ((0, 0), (0, 2 - components.shape[1])))
    scale = components[:, 0].std()
    return np.asarray(components / (scale if scale > 0 else 1) * 1e-4, np.float32)
