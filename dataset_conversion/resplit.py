"""Dealing cases into parts of given sizes, by class, never a patient in two parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from nnunet_multitask.errors import InputError


def part_sizes(num_cases: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Return how many cases each part gets: its share, rounded, one at least; the first part gets the rest.

    Args:
        num_cases: of all parts together.
        shares: part to its share; they need not sum to 1.

    Raises:
        InputError: fewer cases than parts.
    """
    if num_cases < len(shares):
        fault = f"expected a case for each of {len(shares)} parts, got {num_cases} cases"
        raise InputError("impossible-split", "resplit", fault, "use the official split")
    first, *others = shares
    total = sum(shares.values())
    sizes = {part: max(1, round(num_cases * shares[part] / total)) for part in others}
    return {first: num_cases - sum(sizes.values()), **sizes}


def deal_parts(
    groups: Mapping[str, Sequence[str]], class_of: Mapping[str, str | None], sizes: Mapping[str, int], seed: int
) -> dict[str, str]:
    """Deal whole groups into parts such that each has its size and its share of every class.

    Large groups go first, in an order drawn from the seed, each to the part that lacks most of its classes and has
    room. The single cases at the end make sizes exact; without any, a part may differ by less than a group.

    Args:
        groups: patient to cases.
        class_of: class of each case; unknown ones count as a class.
        sizes: part to number of cases, together as many as there are.
        seed: equal input gives equal output.

    Returns:
        The part of each case.
    """
    totals = Counter(class_of[case] for members in groups.values() for case in members)
    num_cases = totals.total()
    lacking = {part: {name: size * count / num_cases for name, count in totals.items()} for part, size in sizes.items()}
    room = dict(sizes)
    names = sorted(groups)
    order = np.random.default_rng(seed).permutation(len(names))
    part_of: dict[str, str] = {}
    for name in sorted((names[index] for index in order), key=lambda name: -len(groups[name])):
        members = groups[name]
        classes = Counter(class_of[case] for case in members)
        fitting = [part for part in sizes if room[part] >= len(members)] or [max(sizes, key=lambda part: room[part])]

        def need(part: str, classes: Counter[str | None] = classes) -> float:
            return sum(lacking[part][name] * count for name, count in classes.items()) / sizes[part]

        chosen = max(fitting, key=need)  # the first of equals
        room[chosen] -= len(members)
        for label, count in classes.items():
            lacking[chosen][label] -= count
        part_of.update(dict.fromkeys(members, chosen))
    return part_of
