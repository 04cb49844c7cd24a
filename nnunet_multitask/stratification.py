"""Dealing groups of cases into folds such that every fold has its share of everything that is counted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

RESTARTS = 10  # searches from a shaken solution; the best of all counts
SHAKEN_SHARE = 0.1  # of the groups, that change their fold before such a search
MAX_PARTNERS = 300  # kinds that are tried as partners in one pass; with more of them there is no restart
MAX_EXCHANGES = 10_000  # far above what is needed: each exchange makes the sum smaller
EPSILON = 1e-9  # what rounding may do to the sum


def deal(features: Counts, num_folds: int, seed: int) -> Counts:
    """Deal groups into folds with as little ``imbalance`` as a search for exchanges finds.

    Groups of equal features are one kind. Of each kind every fold first gets the same number; the groups left over go,
    largest first, where they do least harm; then single groups move, and pairs change places, as long as it helps, and
    again from solutions shaken a little (iterated local search). The seed decides which groups of a kind go where, so
    that the balance does not hang on it.

    Args:
        features: (groups, features), how much of each feature a group has.
        num_folds: at least 1.
        seed: equal input gives equal output.

    Returns:
        (groups,), the fold of each group, 0 to ``num_folds - 1``.
    """
    if len(features) == 0:
        return np.zeros(0, np.int64)
    kinds, kind_of, numbers = np.unique(features, axis=0, return_inverse=True, return_counts=True)
    scaled: npt.NDArray[np.float64] = kinds.astype(np.float64) * np.sqrt(_weights(features))
    held = np.repeat((numbers // num_folds)[:, None], num_folds, axis=1)
    _deal_leftovers(scaled, numbers % num_folds, held)
    least_possible = _least_spread(features, num_folds)
    _exchange(scaled, held, least_possible)
    held = _best_of_shaken(scaled, held, least_possible)
    folds = np.zeros(len(features), np.int64)
    random = np.random.default_rng(seed)
    for kind in range(len(kinds)):
        members = np.flatnonzero(kind_of.ravel() == kind)
        folds[random.permutation(members)] = np.repeat(np.arange(num_folds), held[kind])
    return folds


def imbalance(features: Counts, folds: Counts, num_folds: int) -> float:
    """Return how far the folds are from equal shares.

    The sum over features and folds of (number in the fold - number / folds)² / number: the chi-squared statistic of the
    folds but for a factor. A feature that no group has counts nothing.

    Args:
        features: (groups, features).
        folds: (groups,), as ``deal`` returns them.
        num_folds: at least 1.
    """
    held = np.stack([features[folds == fold].sum(axis=0) for fold in range(num_folds)])
    return float((_weights(features) * (held - features.sum(axis=0) / num_folds) ** 2).sum())


def _weights(features: Counts) -> npt.NDArray[np.float64]:
    return 1.0 / np.maximum(features.sum(axis=0), 1)


def _deal_leftovers(scaled: npt.NDArray[np.float64], leftover: Counts, held: Counts) -> None:
    """Give each group left over to the fold that has least of what the group has."""
    inside = held.T @ scaled  # (folds, features)
    for kind in np.argsort(-np.linalg.norm(scaled, axis=1), kind="stable"):
        for _ in range(leftover[kind]):
            fold = int(np.argmin(np.round(inside @ scaled[kind], 9)))
            inside[fold] += scaled[kind]
            held[kind, fold] += 1


def _best_of_shaken(scaled: npt.NDArray[np.float64], held: Counts, least_possible: float) -> Counts:
    random = np.random.default_rng(0)
    num_shaken = max(2, round(SHAKEN_SHARE * held.sum()))
    best, least = held, _spread(scaled, held)
    for _ in range(RESTARTS if len(held) <= MAX_PARTNERS else 0):
        if least <= least_possible:
            break
        tried = best.copy()
        for _ in range(num_shaken):
            occupied = np.argwhere(tried > 0)
            kind, fold = occupied[random.integers(len(occupied))]
            tried[kind, fold] -= 1
            tried[kind, random.integers(held.shape[1])] += 1
        _exchange(scaled, tried, least_possible)
        spread = _spread(scaled, tried)
        if spread < least - EPSILON:
            best, least = tried, spread
    return best


def _spread(scaled: npt.NDArray[np.float64], held: Counts) -> float:
    """Return the imbalance up to a constant."""
    return _squares(held.T @ scaled)


def _least_spread(features: Counts, num_folds: int) -> float:
    """Return the spread where the folds differ by one at most in every feature: no search can do better."""
    each, rest = np.divmod(features.sum(axis=0), num_folds)
    squares = (num_folds - rest) * each**2 + rest * (each + 1) ** 2
    return float((_weights(features) * squares).sum()) + EPSILON


def _exchange(scaled: npt.NDArray[np.float64], held: Counts, least_possible: float) -> None:
    """Move a group, or let two change places, always the best such step for the first of them, until none helps."""
    num_kinds = len(held)
    random = np.random.default_rng(0)
    partners = np.arange(num_kinds)
    inside = held.T @ scaled  # (folds, features)
    improved, exchanges = True, 0
    while improved and exchanges < MAX_EXCHANGES:
        improved = False
        if num_kinds > MAX_PARTNERS:
            partners = random.choice(num_kinds, MAX_PARTNERS, replace=False)
        offered = np.vstack([scaled[partners], np.zeros(scaled.shape[1])])  # the last is nobody: a move
        for kind, source in np.argwhere(held > 0):
            if held[kind, source] == 0 or _squares(inside) <= least_possible:
                continue
            lost = scaled[kind] - offered  # (partners + 1, features), by the source
            apart = inside - inside[source]  # (folds, features)
            # change of the imbalance: sum of 2 d (n_target - n_source) + 2 d²
            change = 2 * (lost @ apart.T + (lost**2).sum(axis=1, keepdims=True))
            change[:-1][held[partners] == 0] = np.inf
            change[:, source] = np.inf
            partner, target = np.unravel_index(int(change.argmin()), change.shape)
            if change[partner, target] > -EPSILON:
                continue
            inside[source] -= lost[partner]
            inside[target] += lost[partner]
            held[kind, source] -= 1
            held[kind, target] += 1
            if partner < len(partners):
                held[partners[partner], target] -= 1
                held[partners[partner], source] += 1
            improved = True
            exchanges += 1


def _squares(inside: npt.NDArray[np.float64]) -> float:
    return float(np.vdot(inside, inside))
