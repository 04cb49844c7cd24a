"""t-SNE of the fused features of all cases, before training and after, as picture and table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_multitask.explanation.cases import CaseExplanation
from nnunet_multitask.explanation.embedding import AFTER, BEFORE, SEED, embed, perplexity_of, write_points
from nnunet_multitask.explanation.scatter import draw_points
from nnunet_multitask.inference.predictor import MultiTaskPredictor
from nnunet_multitask.storage import atomic_file

TSNE_PNG, TSNE_CSV = "tsne.png", "tsne.csv"


def write_tsne(
    output: Path,
    found: Mapping[str, CaseExplanation],
    predictor: MultiTaskPredictor,
    known: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Write picture and table of t-SNE before and after training, and return what explanation.json says of them.

    Args:
        output: folder of both files.
        found: explanations by case, with the fused features of both networks.
        predictor: the model.
        known: for each target the label of each case as text, empty where it is unknown.
    """
    points = {
        network: embed(np.stack([explanation.vectors[network] for explanation in found.values()]))
        for network in (BEFORE, AFTER)
    }
    labels = {name: list(texts.values()) for name, texts in known.items()}
    fold, perplexity = predictor.model["folds"][0], perplexity_of(len(found))
    aggregation = predictor.aggregations[next(iter(labels))]
    note = f"t-SNE, perplexity {perplexity:.3g}, {len(found)} cases, fold {fold}; distances between groups mean nothing"
    write_points(output / TSNE_CSV, list(found), labels, points)
    with atomic_file(output / TSNE_PNG) as temporary:
        temporary.write_bytes(draw_points(points, labels, note).png)
    return {
        "csv": TSNE_CSV,
        "picture": TSNE_PNG,
        "cases": len(found),
        "unlabelled": {name: sum(not text for text in texts) for name, texts in labels.items()},
        "fold": fold,
        "features": len(next(iter(found.values())).vectors[AFTER]),
        "aggregation": aggregation,
        "perplexity": perplexity,
        "seed": SEED,
    }
