"""Many tests at once: p values corrected for the size of their family."""

from __future__ import annotations

from collections.abc import Mapping

DEFINITION = (
    "Holm's step-down correction of the primary test over its family, which the document names; tests without a p are "
    "no members"
)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p values, which keep the chance of any false finding below the level.

    Args:
        p_values: p by name of the test; may be empty.

    Returns:
        Adjusted p by name, at most 1, in the order given.

    Raises:
        ValueError: a p outside 0 to 1.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 6, 1979.
    """
    if not all(0 <= p <= 1 for p in p_values.values()):
        raise ValueError(f"expected p from 0 to 1, got {dict(p_values)}")
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
