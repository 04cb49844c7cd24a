"""Gated attention over the tiles of a volume (Ilse et al. 2018), on features that every fold's network shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunet_multitask.inference.aggregation import AGGREGATIONS, Floats, TileWeights
from nnunet_multitask.labels import Target

FEATURES_VERSION = 1  # of `tile_features`: a head that was fitted on others is of no use
SMALLEST = 5e-7  # probabilities are cut here and at 1 - 5e-7 before their logarithm, as where they are scored


@dataclass(frozen=True)
class GatedHead:
    """Gate and classifier of one decision; M features of a tile, L hidden units, K outputs.

    Attributes:
        v, u: (L, M).
        w: (L,).
        classifier: (K, M).
    """

    v: Floats
    u: Floats
    w: Floats
    classifier: Floats

    def attention(self, features: Floats) -> Floats:
        """Return the weight of each tile, (T,), which sums to 1.

        ``a_t = exp(w^T (tanh(V h_t) * sigm(U h_t))) / sum_j exp(w^T (tanh(V h_j) * sigm(U h_j)))``: M. Ilse,
        J. M. Tomczak, M. Welling, Attention-based deep multiple instance learning, ICML 2018, eq. 9.

        Args:
            features: of each tile, (T, M).
        """
        scores = (np.tanh(features @ self.v.T) * _sigmoid(features @ self.u.T)) @ self.w
        weights = np.exp(scores - scores.max())
        return np.asarray(weights / weights.sum())

    def logits(self, features: Floats) -> Floats:
        """Return the logits of the case, (K,): the classifier on ``z = sum_t a_t h_t`` (eq. 7)."""
        return np.asarray(self.classifier @ (self.attention(features) @ features))


@dataclass(frozen=True)
class GatedAttention:
    """The fitted aggregation of one target; called as the other aggregations are.

    Attributes:
        target: type and classes.
        mean, scale: of the features over the tiles that it was fitted on, (M - 1,).
        heads: one; of a multilabel target one for each class, None where it had too few cases.
        fallback: the aggregation of classes without a head, one of ``AGGREGATIONS``.
    """

    target: Target
    mean: Floats
    scale: Floats
    heads: Sequence[GatedHead | None]
    fallback: str

    def __call__(self, probabilities: Floats, weights: TileWeights) -> Floats:
        """Return the probabilities of a case, (outputs,).

        Args:
            probabilities: of each tile, (T, outputs).
            weights: of each tile.
        """
        features = standardised(tile_features(self.target, probabilities, weights), self.mean, self.scale)
        logits = [None if head is None else head.logits(features) for head in self.heads]
        if self.target.type == "multiclass":
            (values,) = logits
            assert values is not None
            exponentials = np.exp(values - values.max())
            return np.asarray(exponentials / exponentials.sum())
        other = AGGREGATIONS[self.fallback](probabilities, weights)
        return np.array(
            [other[k] if value is None else _sigmoid(value)[0] for k, value in enumerate(logits)], dtype=np.float64
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in aggregation.json."""
        return {
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "heads": [None if head is None else {k: v.tolist() for k, v in vars(head).items()} for head in self.heads],
            "fallback": self.fallback,
        }

    @classmethod
    def from_json(cls, target: Target, document: Mapping[str, Any]) -> GatedAttention:
        """Return what ``to_json`` wrote.

        Raises:
            ValueError: numbers that do not belong together.
        """
        mean, scale = np.array(document["mean"], dtype=np.float64), np.array(document["scale"], dtype=np.float64)
        width = target.num_outputs + 3
        heads = []
        for entry in document["heads"]:
            head = None if entry is None else GatedHead(**{k: np.array(v, dtype=np.float64) for k, v in entry.items()})
            heads.append(head)
            if head is None and target.type != "multilabel":
                raise ValueError("a target of exclusive classes without its head")
            if head is not None:
                hidden = (len(head.w), width)
                outputs = target.num_outputs if target.type == "multiclass" else 1
                if head.v.shape != hidden or head.u.shape != hidden or head.classifier.shape != (outputs, width):
                    raise ValueError(f"arrays of other shapes than {hidden} and {(outputs, width)}")
        expected = target.num_outputs if target.type == "multilabel" else 1
        if len(heads) != expected or mean.shape != (width - 1,) or scale.shape != (width - 1,):
            raise ValueError(f"expected {expected} heads and {width - 1} features")
        return cls(target, mean, scale, heads, document["fallback"])


def tile_features(target: Target, probabilities: Floats, weights: TileWeights) -> Floats:
    """Return what the attention sees of each tile, (T, outputs + 2).

    The logits of the target's outputs (of exclusive classes ln p), and log10(1 + v) of the predicted foreground and
    of the tile's share of the segmentation, both in voxels. Every fold's network has these in the same units. The
    vectors in front of the heads have not: each network has its own basis, so that a head on them could be fitted
    only on the one fold of cases which that network was not trained on, a fifth of them, with a hundred numbers a
    tile; and it could not be judged on the other folds.

    Args:
        target: type and classes.
        probabilities: of each tile, (T, outputs).
        weights: of each tile.
    """
    p = np.clip(np.asarray(probabilities, dtype=np.float64), SMALLEST, 1 - SMALLEST)
    logits = np.log(p) if target.type == "multiclass" else np.log(p) - np.log1p(-p)
    sizes = np.stack([weights.foreground_voxels, weights.importance], axis=1)
    return np.concatenate([logits, np.log10(1 + sizes)], axis=1)


def standardised(features: Floats, mean: Floats, scale: Floats) -> Floats:
    """Return ``(features - mean) / scale`` with a constant 1 behind, by which gate and classifier have a bias.

    Args:
        features: (T, M - 1).
        mean, scale: (M - 1,).

    Returns:
        (T, M).
    """
    return np.concatenate([(features - mean) / scale, np.ones((len(features), 1))], axis=1)


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(values / 2)))  # no overflow
