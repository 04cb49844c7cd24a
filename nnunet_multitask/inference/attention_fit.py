"""Fitting gated attention on the tiles of cases whose network was not trained on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nnunet_multitask.inference.aggregation import Floats
from nnunet_multitask.inference.gated_attention import GatedAttention, GatedHead, standardised
from nnunet_multitask.labels import Target

HIDDEN = 16  # L: enough for a gate on a handful of features
PRIOR = 1.0  # weight decay: a standard normal prior of every parameter, around its start
MAX_STEPS = 200
STEPS_BETWEEN = 10  # of the numbers of steps that are tried
LEARNING_RATE = 0.03
INNER_PARTS = 3
SEED = 20250101

Bag = Floats  # features of the tiles of a case, (T, M - 1)


@dataclass(frozen=True)
class Cases:
    """Cases to fit on.

    Attributes:
        bags: `tile_features` of each case, N of (T, M - 1).
        truth: (N, C) bool, whether the case has the class.
        patients: (N,) number of the patient.
    """

    bags: Sequence[Bag]
    truth: NDArray[np.bool_]
    patients: NDArray[np.integer]

    def select(self, inside: NDArray[np.bool_]) -> Cases:
        """Return some of the cases, (N,) bool."""
        bags = [bag for bag, keep in zip(self.bags, inside, strict=True) if keep]
        return Cases(bags, self.truth[inside], self.patients[inside])


def fit_gated_attention(
    target: Target, cases: Cases, fallback: str, left_out: Sequence[str] = ()
) -> tuple[GatedAttention, list[int]]:
    """Fit the attention of one target.

    It starts as the mean of the tiles' logits: a gate whose w is 0 weighs all tiles alike, and the classifier picks
    the logits out of the features. From there it goes by gradient (Adam, all cases at once) against the mean log
    loss and a normal prior, for as many steps as help cases that it does not see: the number is chosen on parts of
    the patients, and 0 is among the choices, so that too few cases leave the mean as it is.

    Args:
        target: type and classes.
        cases: what to fit on.
        fallback: the aggregation of classes that are left out.
        left_out: classes of a multilabel target.

    Returns:
        The aggregation, and of each head the number of steps.
    """
    tiles = np.concatenate(cases.bags)
    mean, spread = tiles.mean(axis=0), tiles.std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1.0)
    outputs = target.num_outputs
    if target.type == "multilabel":
        columns = [[index] for index in range(outputs)]
        labels = [cases.truth[:, index].astype(int) for index in range(outputs)]
    else:
        columns = [list(range(outputs))]
        labels = [cases.truth.argmax(axis=1)]
    bags = [standardised(bag, mean, scale) for bag in cases.bags]
    heads: list[GatedHead | None] = []
    steps = []
    for number, (picked, label) in enumerate(zip(columns, labels, strict=True)):
        if target.type == "multilabel" and target.classes[number] in left_out:
            heads.append(None)
            steps.append(0)
            continue
        start = _start(picked, mean, scale)
        best = _best_steps(bags, label, cases.patients, start)
        *_, head = _fitted(bags, label, start, best)
        heads.append(head)
        steps.append(best)
    return GatedAttention(target, mean, scale, heads, fallback), steps


def _start(picked: Sequence[int], mean: Floats, scale: Floats) -> GatedHead:
    """Return the head that is the mean over the tiles of the features with these numbers."""
    width = len(mean) + 1
    random = np.random.default_rng(SEED)
    classifier = np.zeros((len(picked), width))
    for row, column in enumerate(picked):
        classifier[row, column], classifier[row, -1] = scale[column], mean[column]
    v, u = random.normal(0, width**-0.5, (2, HIDDEN, width))
    return GatedHead(v, u, np.zeros(HIDDEN), classifier)


def _best_steps(
    bags: Sequence[Floats], labels: NDArray[np.integer], patients: NDArray[np.integer], start: GatedHead
) -> int:
    """Return the number of steps with the least log loss of patients that were left out."""
    part = _parts(labels, patients)
    losses = np.zeros(MAX_STEPS // STEPS_BETWEEN + 1)
    for number in np.unique(part):
        inside = part != number
        if not inside.any():
            return 0
        seen = [bag for bag, keep in zip(bags, inside, strict=True) if keep]
        unseen = _batch([bag for bag, keep in zip(bags, inside, strict=True) if not keep])
        truth = torch.as_tensor(labels[~inside])
        for index, head in enumerate(_fitted(seen, labels[inside], start, MAX_STEPS)):
            parameters = [torch.as_tensor(array) for array in vars(head).values()]
            losses[index] += float(_losses(unseen, truth, *parameters).sum())
    return int(losses.argmin()) * STEPS_BETWEEN


def _parts(labels: NDArray[np.integer], patients: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the part of each case, (N,): patients are kept together, and classes are spread over the parts."""
    owners = np.unique(patients)
    of_owner = [int(labels[patients == owner].max()) for owner in owners]
    shuffled = np.random.default_rng(SEED).permutation(len(owners))
    order = sorted(shuffled, key=lambda index: of_owner[index])
    part = np.empty(len(owners), dtype=int)
    part[order] = np.arange(len(owners)) % INNER_PARTS
    return part[np.searchsorted(owners, patients)]


def _fitted(
    bags: Sequence[Floats], labels: NDArray[np.integer], start: GatedHead, num_steps: int
) -> Iterator[GatedHead]:
    """Yield the head at the start and after each further ``STEPS_BETWEEN`` steps."""
    batch, truth = _batch(bags), torch.as_tensor(labels)
    begin = [torch.as_tensor(array) for array in vars(start).values()]
    centre = [torch.zeros_like(array) for array in begin[:3]] + [begin[3]]  # v and u start at random, to differ
    parameters = [array.clone().requires_grad_() for array in begin]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    yield start
    for step in range(1, num_steps + 1):
        optimizer.zero_grad()
        prior = sum(((p - c) ** 2).sum() for p, c in zip(parameters, centre, strict=True))
        loss = _losses(batch, truth, *parameters).mean() + PRIOR / 2 * prior / len(bags)
        loss.backward()
        optimizer.step()
        if step % STEPS_BETWEEN == 0:
            yield GatedHead(*(p.detach().numpy().copy() for p in parameters))


def _batch(bags: Sequence[Floats]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features of all tiles, (N, T, M), and which of them are there, (N, T)."""
    features = torch.zeros(len(bags), max(len(bag) for bag in bags), bags[0].shape[1], dtype=torch.float64)
    there = torch.zeros(features.shape[:2], dtype=torch.bool)
    for index, bag in enumerate(bags):
        features[index, : len(bag)] = torch.as_tensor(bag)
        there[index, : len(bag)] = True
    return features, there


def _losses(
    batch: tuple[torch.Tensor, torch.Tensor],
    labels: torch.Tensor,
    v: torch.Tensor,
    u: torch.Tensor,
    w: torch.Tensor,
    classifier: torch.Tensor,
) -> torch.Tensor:
    """Return the log loss of each case, (N,): what `GatedHead` computes, in a form that torch can differentiate."""
    features, there = batch
    scores = (torch.tanh(features @ v.T) * torch.sigmoid(features @ u.T)) @ w
    attention = torch.softmax(scores.masked_fill(~there, -torch.inf), dim=1)
    logits = (attention[:, :, None] * features).sum(dim=1) @ classifier.T  # (N, K)
    if logits.shape[1] == 1:
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels.double(), reduction="none")
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")
