"""Classification loss over any number of targets, with unknown labels masked."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from nnunet_multitask.losses.processes import mean_over_processes

UNKNOWN = -1  # label of a sample whose class is not known


class ClassificationLoss(nn.Module):
    """Weighted cross-entropy (multiclass) and binary cross-entropy (binary, multilabel), averaged over the targets.

    With ``focal_gamma`` above 0 each term ``-log p`` of either is multiplied by ``(1 - p) ** focal_gamma``: the focal
    loss (Lin et al. 2017, eq. 4 and 5; the class weights are its alpha).

    Args:
        types: type of each target: ``binary``, ``multiclass`` or ``multilabel``.
        class_weights: for each target the weight of its classes: (2,) negative and positive for binary, (classes,)
            for multiclass, (classes, 2) absent and present for multilabel. A target that is missing has weight 1
            throughout.
        label_smoothing: share of a label that is spread evenly over the classes (Szegedy et al. 2016, section 7).
        focal_gamma: focusing parameter, at least 0; 0 is cross-entropy.
    """

    def __init__(
        self,
        types: Mapping[str, str],
        class_weights: Mapping[str, torch.Tensor] | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
    ) -> None:
        super().__init__()
        self.types = dict(types)
        self.class_weights = dict(class_weights or {})
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma

    def forward(
        self,
        logits: Mapping[str, torch.Tensor],
        labels: Mapping[str, torch.Tensor],
        sample_weights: Mapping[str, torch.Tensor] | None = None,
        counts: Mapping[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Return the loss, a scalar in float32.

        Args:
            logits: for each target (B, outputs).
            labels: for each target integers (B, K): the class index (K = 1) for multiclass, 0 or 1 for each output
                otherwise, and ``UNKNOWN`` where the label is not known.
            sample_weights: for each target the weight of each label, (B, K); 1 throughout by default.
            counts: what ``label_counts`` returned for the whole batch, where these are only some of its samples.

        Each target's loss is the weighted sum over the known labels divided by their number; a target without any
        known label gives zero, and its head a zero gradient, not a missing one.
        """
        counts = label_counts(labels) if counts is None else counts
        weights = dict.fromkeys(self.types) if sample_weights is None else sample_weights
        losses = [
            self._target_sum(name, logits[name], labels[name], weights[name]) / counts[name] for name in self.types
        ]
        return torch.stack(losses).mean()

    def _target_sum(
        self, name: str, logits: torch.Tensor, labels: torch.Tensor, sample_weights: torch.Tensor | None
    ) -> torch.Tensor:
        known = (labels != UNKNOWN).float()  # (B, K)
        values = labels.clamp(min=0)
        weights = self.class_weights.get(name)
        if self.types[name] == "multiclass":
            loss = self._multiclass(logits.float(), values[:, 0])
            weight = known if weights is None else known * weights.to(logits.device)[values]
        else:
            loss = self._binary(logits.float(), values)
            weight = known
            if weights is not None:
                table = weights.to(logits.device).expand(values.shape[1], 2)
                weight = known * torch.where(values == 1, table[:, 1], table[:, 0])
        if sample_weights is not None:
            weight = weight * sample_weights
        return (weight * loss).sum()

    def _multiclass(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Return the loss (B, 1) of logits (B, C) against class indices (B,)."""
        log_p = functional.log_softmax(logits, dim=1)
        spread = self.label_smoothing / logits.shape[1]
        wanted = functional.one_hot(classes, logits.shape[1]) * (1 - self.label_smoothing) + spread
        return (wanted * self._focus(log_p, -torch.expm1(log_p)) * -log_p).sum(dim=1, keepdim=True)

    def _binary(self, logits: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Return the loss (B, K) of logits (B, K) against 0 and 1."""
        wanted = present * (1 - self.label_smoothing) + self.label_smoothing / 2
        log_p, log_q = functional.logsigmoid(logits), functional.logsigmoid(-logits)
        p, q = log_p.exp(), log_q.exp()
        return -wanted * self._focus(log_p, q) * log_p - (1 - wanted) * self._focus(log_q, p) * log_q

    def _focus(self, log_p: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        """Return ``(1 - p) ** gamma``, with ``rest`` = 1 - p."""
        if self.focal_gamma == 0:
            return torch.ones_like(log_p)
        # for gamma below 1 the slope at rest = 0 is infinite
        return rest.clamp(min=1e-7) ** self.focal_gamma


def label_counts(labels: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return for each target the number of its known labels, which its sum of losses is divided by.

    In a distributed training it is the mean over the processes, see ``mean_over_processes``; where none of them
    knows a label it is 1 for all together.

    Args:
        labels: for each target integers (B, K), of all samples that the process has in its batch.
    """
    known = torch.stack([(values != UNKNOWN).sum() for values in labels.values()]).float()
    mean = mean_over_processes(known)
    return dict(zip(labels, torch.where(mean > 0, mean, torch.ones_like(mean)), strict=True))
