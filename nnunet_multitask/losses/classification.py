"""Classification loss over any number of targets, with unknown labels masked."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

UNKNOWN = -1  # label of a sample whose class is not known


class ClassificationLoss(nn.Module):
    """Weighted cross-entropy (multiclass) and binary cross-entropy (binary, multilabel), averaged over the targets.

    Args:
        types: type of each target: ``binary``, ``multiclass`` or ``multilabel``.
        class_weights: for each target the weight of its classes: (2,) negative and positive for binary, (classes,)
            for multiclass, (classes, 2) absent and present for multilabel. A target that is missing has weight 1
            throughout.
        label_smoothing: share of a label that is spread evenly over the classes (Szegedy et al. 2016, section 7).
    """

    def __init__(
        self,
        types: Mapping[str, str],
        class_weights: Mapping[str, torch.Tensor] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.types = dict(types)
        self.class_weights = dict(class_weights or {})
        self.label_smoothing = label_smoothing

    def forward(
        self,
        logits: Mapping[str, torch.Tensor],
        labels: Mapping[str, torch.Tensor],
        sample_weights: Mapping[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Return the loss, a scalar in float32.

        Args:
            logits: for each target (B, outputs).
            labels: for each target integers (B, K): the class index (K = 1) for multiclass, 0 or 1 for each output
                otherwise, and ``UNKNOWN`` where the label is not known.
            sample_weights: for each target the weight of each label, (B, K); 1 throughout by default.

        Each target's loss is the weighted sum over the known labels divided by their number; a target without any
        known label gives zero, and its head a zero gradient, not a missing one.
        """
        weights = dict.fromkeys(self.types) if sample_weights is None else sample_weights
        losses = [self._target_loss(name, logits[name], labels[name], weights[name]) for name in self.types]
        return torch.stack(losses).mean()

    def _target_loss(
        self, name: str, logits: torch.Tensor, labels: torch.Tensor, sample_weights: torch.Tensor | None
    ) -> torch.Tensor:
        known = (labels != UNKNOWN).float()  # (B, K)
        values = labels.clamp(min=0)
        weights = self.class_weights.get(name)
        if self.types[name] == "multiclass":
            loss = functional.cross_entropy(
                logits.float(), values[:, 0], reduction="none", label_smoothing=self.label_smoothing
            )[:, None]
            weight = known if weights is None else known * weights.to(logits.device)[values]
        else:
            smooth = values.float() * (1 - self.label_smoothing) + self.label_smoothing / 2
            loss = functional.binary_cross_entropy_with_logits(logits.float(), smooth, reduction="none")
            weight = known
            if weights is not None:
                table = weights.to(logits.device).expand(values.shape[1], 2)
                weight = known * torch.where(values == 1, table[:, 1], table[:, 0])
        if sample_weights is not None:
            weight = weight * sample_weights
        return (weight * loss).sum() / known.sum().clamp(min=1)
