"""Parts of given sizes, by class, with whole patients."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_multitask.dataset_conversion.resplit import deal_parts, part_sizes
from nnunet_multitask.errors import InputError

SHARES = {"train": 160, "val": 40, "test": 22}


def cohort(sizes: list[int], seed: int = 0) -> tuple[dict[str, list[str]], dict[str, str | None]]:
    """Patients with so many scans each, each scan of a class drawn at random."""
    random = np.random.default_rng(seed)
    groups = {f"p{i}": [f"p{i}_{k}" for k in range(size)] for i, size in enumerate(sizes)}
    class_of = {case: str(random.choice(["IPH", "IVH"])) for members in groups.values() for case in members}
    return groups, class_of


@pytest.mark.parametrize(
    ("num_cases", "expected"), [(222, (160, 40, 22)), (525, (378, 95, 52)), (22, (16, 4, 2)), (3, (1, 1, 1))]
)
def test_sizes(num_cases: int, expected: tuple[int, int, int]) -> None:
    assert tuple(part_sizes(num_cases, SHARES).values()) == expected


def test_too_few_cases() -> None:
    with pytest.raises(InputError, match=r"\[impossible-split\].*expected a case for each of 3 parts, got 2 cases"):
        part_sizes(2, SHARES)


def test_sizes_and_classes_of_a_cohort_as_published() -> None:
    groups, _ = cohort([4, 3, *[2] * 8, *[1] * 199])  # 222 scans of 209 patients
    scans = [scan for members in groups.values() for scan in members]
    class_of = {scan: "IPH" if index % 222 < 115 else "IVH" for index, scan in enumerate(scans)}
    part_of = deal_parts(groups, class_of, part_sizes(222, SHARES), seed=1)
    assert Counter(part_of.values()) == {"train": 160, "val": 40, "test": 22}
    counts = Counter((part_of[scan], class_of[scan]) for scan in scans)
    for part, size in part_sizes(222, SHARES).items():
        assert abs(counts[part, "IPH"] - size * 115 / 222) <= 1
    assert all(len({part_of[scan] for scan in members}) == 1 for members in groups.values())


def test_seed_changes_who_goes_where_and_order_of_patients_does_not() -> None:
    groups, class_of = cohort([2, 2, *[1] * 40])
    sizes = part_sizes(44, SHARES)
    first = deal_parts(groups, class_of, sizes, seed=1)
    assert deal_parts(dict(reversed(groups.items())), class_of, sizes, seed=1) == first
    assert deal_parts(groups, class_of, sizes, seed=2) != first


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=3, max_size=40), st.integers(0, 99))
def test_no_patient_in_two_parts_and_sizes_within_a_group(patients: list[int], seed: int) -> None:
    groups, class_of = cohort(patients, seed)
    sizes = part_sizes(sum(patients), SHARES)
    part_of = deal_parts(groups, class_of, sizes, seed)
    assert set(part_of) == set(class_of)
    assert all(len({part_of[scan] for scan in members}) == 1 for members in groups.values())
    if patients.count(1) >= 4 * 3:  # enough single scans to fill what is left
        assert Counter(part_of.values()) == Counter({part: size for part, size in sizes.items() if size})
