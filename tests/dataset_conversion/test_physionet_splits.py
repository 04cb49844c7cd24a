"""Named splits: what was printed, what is wrong with it, and what contradicts it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from nnunet_multitask.dataset_conversion.physionet_splits import IHSNET_TEST, IHSNET_TRAIN, split_patients
from nnunet_multitask.errors import InputError

PUBLISHED = (*range(49, 59), *range(66, 131))


def published_kinds() -> Mapping[int, frozenset[str]]:
    """The 75 scans: Table 3 with what the table of slices says otherwise."""
    kinds = dict.fromkeys(PUBLISHED, frozenset[str]())
    for table in (IHSNET_TRAIN, IHSNET_TEST):
        for kind, patients in table.items():
            for patient in patients:
                kinds[patient] |= {kind}
    return {**kinds, 70: frozenset({"EDH"}), 80: frozenset({"IVH", "IPH", "SAH"}), 90: frozenset({"IPH"})}


def test_36_of_75_have_hemorrhage() -> None:
    assert len(PUBLISHED) == 75
    assert sum(bool(kinds) for kinds in published_kinds().values()) == 36


def test_folds_are_of_everybody() -> None:
    split = split_patients("folds", published_kinds(), exclude=[58, 79])
    assert split.train == frozenset(PUBLISHED) - {58, 79}
    assert split.test == frozenset()
    assert split.left_out == {58: "left out by --exclude", 79: "left out by --exclude"}
    assert not split.has_parts


def test_ihsnet_as_printed() -> None:
    split = split_patients("ihsnet", published_kinds())
    assert split.test == {49, 50, 51, 70, 79, 80, 87, 88, 89}
    assert len(split.train) == 27
    assert split.train & split.test == {51}
    assert split.left_out[90] == "in neither list of Table 3 of Ahmed and Prakasam 2025"
    assert split.left_out[54] == "no hemorrhage: IHSNet uses none of these"
    assert len(split.left_out) == 40
    both, wrong, untested, counts = split.warnings
    assert "patient 51 is in both lists" in both
    assert "--split ihsnet-leakfree" in both
    assert wrong.endswith("kinds that no slice of theirs has: 70 (SAH; has EDH)")
    assert "none of the test patients printed for SAH has it" in untested
    assert "Table 4" in counts
    assert "patient 76" in counts


def test_ihsnet_without_its_leak() -> None:
    split = split_patients("ihsnet-leakfree", published_kinds())
    assert split.test == {49, 50, 51, 70, 79, 80, 87, 88, 89}
    assert split.train | split.test == {patient for patient, kinds in published_kinds().items() if kinds}
    assert not split.train & split.test
    assert 90 in split.train
    assert split.warnings == ()  # patient 80 has SAH


def test_kind_that_no_test_patient_has_is_named() -> None:
    kinds = {**published_kinds(), 80: frozenset({"IVH"})}
    assert split_patients("ihsnet-leakfree", kinds).warnings == (
        "split ihsnet-leakfree: no test patient has a slice with SAH",
    )


def test_hoseyni_like() -> None:
    kinds = published_kinds()
    split = split_patients("hoseyni-like", kinds)
    assert len(split.train) == 57
    assert len(split.test) == 16
    assert sum(bool(kinds[patient]) for patient in split.test) == 6
    assert not split.train & split.test
    assert set(split.left_out) == {58, 79}
    assert "ids of Hoseyni et al. 2024 were not published; 16 test patients" in split.warnings[0]
    assert split_patients("hoseyni-like", kinds, exclude=[58, 79], seed=12345).test == split.test
    assert split_patients("hoseyni-like", dict(reversed(kinds.items()))).test == split.test
    assert split_patients("hoseyni-like", kinds, seed=1).test != split.test
    assert len(split_patients("hoseyni-like", kinds, exclude=[70]).train) == 56


@pytest.mark.parametrize(
    ("name", "exclude", "text"),
    [
        ("ihsnet-leakfree", [79], r"expected no patient of --split ihsnet-leakfree to be left out, got 79 \(test\)"),
        ("ihsnet", [79, 58], r"got 58 \(training\), 79 \(test\) -> leave out one of the two options"),
        ("ihsnet-leakfree", [90], r"got 90 \(training\)"),
    ],
)
def test_exclusion_of_a_patient_that_the_split_needs(name: str, exclude: list[int], text: str) -> None:
    with pytest.raises(InputError, match=rf"\[contradicting-options\] .*{text}"):
        split_patients(name, published_kinds(), exclude)


def test_exclusion_of_others_is_no_contradiction() -> None:
    split = split_patients("ihsnet", published_kinds(), exclude=[54, 90])
    assert split.left_out[54] == split.left_out[90] == "left out by --exclude"


def test_other_refusals() -> None:
    kinds = published_kinds()
    with pytest.raises(
        InputError, match=r"\[unknown-patient\] --exclude: expected patients with a scan, got 59, 1000 "
    ):
        split_patients("folds", kinds, exclude=[1000, 59, 58])
    with pytest.raises(
        InputError, match=r"\[contradicting-options\] --seed: .*hoseyni-like only, got it with --split folds"
    ):
        split_patients("folds", kinds, seed=0)
    few = {patient: found for patient, found in kinds.items() if patient not in (80, 94)}
    with pytest.raises(InputError, match=r"\[missing-patient\] --split ihsnet: .*found none of 80, 94 ->"):
        split_patients("ihsnet", few)
    with pytest.raises(InputError, match=r"\[unknown-split\] .*hoseyni-like, got 'ihs' ->"):
        split_patients("ihs", kinds)
    with pytest.raises(InputError, match=r"\[impossible-split\] .*two patients or more with hemorrhage, got 1"):
        split_patients("hoseyni-like", {1: frozenset({"EDH"}), 2: frozenset(), 3: frozenset()})
