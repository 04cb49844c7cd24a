"""Splits of PhysioNet CT-ICH by name: those of published systems, with their faults, and all cases for folds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nnunet_multitask.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

SPLITS = {
    "folds": "all scans train; `nnunet-multitask split` makes folds of them by patient",
    "ihsnet": "Table 3 of Ahmed and Prakasam 2025 as printed, with its faults",
    "ihsnet-leakfree": "the same test patients, every other patient with hemorrhage trains",
    "hoseyni-like": "80/20 by patient after leaving out 58 and 79, drawn by --seed",
}
SPLITS_WITHOUT_NEGATIVES = ("ihsnet", "ihsnet-leakfree")
DEFAULT_SEED = 12345

# Table 3 of Ahmed and Prakasam 2025
IHSNET_TRAIN: Mapping[str, tuple[int, ...]] = {
    "IVH": (85, 91, 92, 94),
    "IPH": (51, 58, 69, 72),
    "SAH": (76, 82, 84),
    "SDH": (71, 74, 81),
    "EDH": (52, 53, 66, 67, 68, 73, 75, 77, 78, 83, 86, 93, 97),
}
IHSNET_TEST: Mapping[str, tuple[int, ...]] = {
    "IVH": (80,),
    "IPH": (50, 79),
    "SAH": (70,),
    "SDH": (51,),
    "EDH": (49, 87, 88, 89),
}
HOSEYNI_EXCLUDED = (58, 79)

# test patients of Hoseyni et al. 2024: 6 of the 34 with hemorrhage and 10 of the 39 without give their figures
_TEST_SHARE_POSITIVE = 6 / 34
_TEST_SHARE_NEGATIVE = 10 / 39


@dataclass(frozen=True)
class PatientSplit:
    """Which patients train and which test.

    Args:
        train: patient numbers.
        test: patient numbers; one that trains, too, is a fault of the split, named in ``warnings``.
        left_out: patients in neither part, and why.
        warnings: the faults of the split.
        has_parts: the split says who trains and who tests.
    """

    train: frozenset[int]
    test: frozenset[int] = frozenset()
    left_out: Mapping[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    has_parts: bool = True


def split_patients(
    name: str, kinds: Mapping[int, frozenset[str]], exclude: Collection[int] = (), seed: int | None = None
) -> PatientSplit:
    """Return the parts of a split.

    Args:
        name: of ``SPLITS``.
        kinds: for each patient with a scan the kinds of hemorrhage that any slice shows; none means no hemorrhage.
        exclude: patients that the user leaves out.
        seed: of ``hoseyni-like``, ``DEFAULT_SEED`` by default.

    Raises:
        InputError: an unknown name, options that contradict each other, or patients that the split cannot do without.
    """
    if name not in SPLITS:
        fault = f"expected {', '.join(SPLITS)}, got {name!r}"
        raise InputError("unknown-split", "split", fault, "choose one of these")
    if seed is not None and name != "hoseyni-like":
        fault = f"expected --seed with --split hoseyni-like only, got it with --split {name}"
        raise InputError("contradicting-options", "--seed", fault, "leave it out; `nnunet-multitask split` has its own")
    unknown = sorted(set(exclude) - set(kinds))
    if unknown:
        fault = f"expected patients with a scan, got {_listed(unknown)}"
        raise InputError("unknown-patient", "--exclude", fault, "correct the numbers")
    left_out = dict.fromkeys(sorted(exclude), "left out by --exclude")
    if name == "folds":
        return PatientSplit(frozenset(kinds) - set(exclude), left_out=left_out, has_parts=False)
    if name == "hoseyni-like":
        left_out |= {
            patient: "left out by the split hoseyni-like: poor quality (Kyung et al. 2022)"
            for patient in HOSEYNI_EXCLUDED
            if patient in kinds
        }
        return _hoseyni_like(kinds, left_out, DEFAULT_SEED if seed is None else seed)
    return _ihsnet(name, kinds, exclude)


def _hoseyni_like(kinds: Mapping[int, frozenset[str]], left_out: Mapping[int, str], seed: int) -> PatientSplit:
    import numpy as np

    rng = np.random.default_rng(seed)
    train: set[int] = set()
    test: set[int] = set()
    for positive, share in ((True, _TEST_SHARE_POSITIVE), (False, _TEST_SHARE_NEGATIVE)):
        patients = sorted(patient for patient, found in kinds.items() if bool(found) == positive)
        drawn = rng.permutation([patient for patient in patients if patient not in left_out]).tolist()
        num_test = max(1, round(share * len(drawn)))
        if num_test >= len(drawn):
            fault = f"expected two patients or more {'with' if positive else 'without'} hemorrhage, got {len(drawn)}"
            raise InputError("impossible-split", "--split hoseyni-like", fault, "use --split folds")
        test |= set(drawn[:num_test])
        train |= set(drawn[num_test:])
    warning = (
        f"split hoseyni-like: the ids of Hoseyni et al. 2024 were not published; {len(test)} test patients "
        f"({_listed(test)}) are drawn with the seed {seed}, in the proportion of 6 with and 10 without hemorrhage that "
        "their figures need"
    )
    return PatientSplit(frozenset(train), frozenset(test), left_out, (warning,))


def _ihsnet(name: str, kinds: Mapping[int, frozenset[str]], exclude: Collection[int]) -> PatientSplit:
    positive = {patient for patient, found in kinds.items() if found}
    test = {patient for patients in IHSNET_TEST.values() for patient in patients}
    if name == "ihsnet":
        train = {patient for patients in IHSNET_TRAIN.values() for patient in patients}
    else:
        train = positive - test
    missing = sorted((train | test) - set(kinds))
    if missing:
        fault = f"expected a scan of every patient of the split, found none of {_listed(missing)}"
        raise InputError("missing-patient", f"--split {name}", fault, "get the whole data set, or use another split")
    used = sorted((train | test).intersection(exclude))
    needed = [f"{patient} ({'test' if patient in test else 'training'})" for patient in used]
    if needed:
        fault = f"expected no patient of --split {name} to be left out, got {', '.join(needed)}"
        raise InputError("contradicting-options", "--exclude", fault, "leave out one of the two options")
    reasons = {
        **dict.fromkeys(kinds, "no hemorrhage: IHSNet uses none of these"),
        **dict.fromkeys(positive, "in neither list of Table 3 of Ahmed and Prakasam 2025"),
        **dict.fromkeys(exclude, "left out by --exclude"),
    }
    left_out = {patient: reasons[patient] for patient in sorted(set(kinds) - train - test)}
    warnings = list(_printed_faults(kinds, train & test)) if name == "ihsnet" else []
    absent = [kind for kind in IHSNET_TEST if not any(kind in kinds[patient] for patient in test)]
    if absent:
        warnings.append(f"split {name}: no test patient has a slice with {', '.join(absent)}")
    return PatientSplit(frozenset(train), frozenset(test), left_out, tuple(warnings))


def _printed_faults(kinds: Mapping[int, frozenset[str]], twice: Iterable[int]) -> Iterable[str]:
    """Yield what is wrong with Table 3, by itself and against the table of slices."""
    for patient in sorted(twice):
        yield (
            f"split ihsnet: patient {patient} is in both lists of Table 3 and is taken as printed, as a training "
            "and as a test case; figures on it are no test figures: use --split ihsnet-leakfree for those"
        )
    wrong = [
        f"{patient} ({kind}; has {' '.join(sorted(kinds[patient])) or 'no hemorrhage'})"
        for table in (IHSNET_TRAIN, IHSNET_TEST)
        for kind, patients in table.items()
        for patient in patients
        if kind not in kinds[patient]
    ]
    if wrong:
        yield f"split ihsnet: Table 3 lists patients under kinds that no slice of theirs has: {', '.join(wrong)}"
    untested = [kind for kind, patients in IHSNET_TEST.items() if not any(kind in kinds[p] for p in patients)]
    if untested:
        yield f"split ihsnet: none of the test patients printed for {', '.join(untested)} has it"
    yield (
        "split ihsnet: the numbers of slices in Table 4 do not follow from Table 3, and Fig. 12 shows patient 76, who "
        "is printed for training"
    )


def _listed(patients: Iterable[int]) -> str:
    return ", ".join(str(patient) for patient in sorted(patients))
