"""A synthetic head-CT cohort in exactly the source layout of PhysioNet CT-ICH 1.3.x.

Patients have the numbers of the published ones, and the published patients with hemorrhage have one here, too, first of
the kind that Table 3 of Ahmed and Prakasam 2025 gives them: so the named splits of the converter can be tried.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnunet_multitask.dataset_conversion.phantom_readme import README_NAME, is_cohort, write_readme
from nnunet_multitask.dataset_conversion.physionet_layout import CHECKSUM_FILE
from nnunet_multitask.dataset_conversion.physionet_splits import IHSNET_TEST, IHSNET_TRAIN
from nnunet_multitask.dataset_conversion.physionet_tables import KIND_COLUMNS, KINDS
from nnunet_multitask.dataset_conversion.replacing import check_replaceable
from nnunet_multitask.engines.local import map_in_order
from nnunet_multitask.errors import InputError
from nnunet_multitask.storage import atomic_directory

if TYPE_CHECKING:  # scipy behind it is not needed for --help
    from nnunet_multitask.dataset_conversion.phantom_scan import HeadScan

PHANTOM_VERSION = 1  # goes up whenever the same seed gives other files
PUBLISHED_PATIENTS = (*range(49, 59), *range(66, 131))
WITHOUT_SCAN = tuple(range(59, 66))  # in the table of patients only

# beyond Table 3: its patient 70 has EDH, 90 is missing from it, 80 has slices with several kinds
_CORRECTIONS: Mapping[int, tuple[str, ...]] = {
    51: ("IPH", "SDH"),
    70: ("EDH",),
    80: ("IVH", "IPH", "SAH"),
    90: ("IPH",),
}
_LAST_PATIENT = 999
_SHARE_POSITIVE = 0.48  # of patients beyond the published ones
_SECOND_KINDS = {"IPH": 0.25, "SAH": 0.08, "EDH": 0.08}  # chance that a bleeding has it, too
_FRACTURED = {"EDH": 0.6, "SDH": 0.4}  # chance by kind; of all others:
_FRACTURED_OTHERS = 0.2
_VOLUME_FACTORS = {"IVH": 0.6, "IPH": 1.0, "SAH": 0.7, "EDH": 1.5, "SDH": 2.5}
_SECOND_VOLUME = 0.5
_OBLIQUE_PATIENT = 74
_OBLIQUE_DEGREES = 3.0

_FILES = """ct_scans/PPP.nii                  Hounsfield units, int16
masks/PPP.nii                     0 background, 255 blood
hemorrhage_diagnosis_raw_ct.csv   what each slice shows; slice number 1 is the lowest
Patient_demographics.csv          age, sex, kinds of hemorrhage and fracture of each patient
SHA256SUMS.txt                    checksums of all of these"""


@dataclass(frozen=True)
class CohortCase:
    """One scan of the cohort, before it is drawn.

    Args:
        patient: number of the patient.
        kinds: of hemorrhage, the first being the largest; none in a healthy head.
        fractured: the skull has a fracture.
        age_years, sex: of the patient.
        patient_seed: seed of the head.
        scan_seed: seed of everything else.
    """

    patient: int
    kinds: tuple[str, ...]
    fractured: bool
    age_years: int
    sex: str
    patient_seed: np.random.SeedSequence
    scan_seed: np.random.SeedSequence

    def draw(self) -> HeadScan:
        """Return the images."""
        from nnunet_multitask.dataset_conversion.phantom_anatomy import draw_parameters
        from nnunet_multitask.dataset_conversion.phantom_scan import Bleeding, draw_scan

        rng = np.random.default_rng(self.scan_seed)
        parameters = draw_parameters(np.random.default_rng(self.patient_seed), rng)
        tilt = _OBLIQUE_DEGREES if self.patient == _OBLIQUE_PATIENT else 0.0
        bleedings = [
            Bleeding(kind, _VOLUME_FACTORS[kind] * (_SECOND_VOLUME if index else 1.0))  # type: ignore[arg-type]
            for index, kind in enumerate(self.kinds)
        ]
        return draw_scan(replace(parameters, tilt_degrees=tilt), bleedings, rng, fractured=self.fractured)


def plan_cohort(num_scans: int, seed: int = 0) -> Iterator[CohortCase]:
    """Yield the cases, with and without hemorrhage in turn, and the kinds in turn, as long as both last.

    Case k depends on seed and k only: it is the same whatever the size of the cohort. The first ten cases have every
    kind; 75 are the published patients, 36 of them with hemorrhage; later ones are drawn.
    """
    for index, (patient, kinds) in zip(range(num_scans), _patients(seed), strict=False):
        rng = np.random.default_rng([seed, 10, index])
        known = patient in _CORRECTIONS or not kinds
        second = [] if known else [kind for kind, chance in _SECOND_KINDS.items() if rng.random() < chance]
        every = tuple(dict.fromkeys((*kinds, *second)))
        fracture_chance = max((_FRACTURED.get(kind, _FRACTURED_OTHERS) for kind in every), default=_FRACTURED_OTHERS)
        yield CohortCase(
            patient=patient,
            kinds=every,
            fractured=bool(rng.random() < fracture_chance),
            age_years=int(rng.integers(1, 80)),
            sex="Male" if rng.random() < 0.56 else "Female",
            patient_seed=np.random.SeedSequence([seed, 11, index]),
            scan_seed=np.random.SeedSequence([seed, 12, index]),
        )


def generate_physionet_cohort(
    output_dir: str | Path,
    *,
    num_scans: int = len(PUBLISHED_PATIENTS),
    seed: int = 0,
    overwrite: bool = False,
    num_workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write a cohort, all or nothing.

    Args:
        output_dir: the folder to make.
        num_scans: 1 or more.
        seed: equal seeds give equal cohorts; the first cases of a larger cohort are those of a smaller one.
        overwrite: replace an existing folder that is empty or holds such a cohort.
        num_workers: processes, None for one a core.
        progress: show a progress bar.

    Returns:
        ``output_dir``.

    Raises:
        InputError: the folder exists and may not be replaced, or a number is out of range.
    """
    most = len(PUBLISHED_PATIENTS) + _LAST_PATIENT - PUBLISHED_PATIENTS[-1]
    if seed < 0 or not 1 <= num_scans <= most:
        fault = f"expected 1 to {most} scans and a seed from 0 on, got --scans {num_scans} --seed {seed}"
        raise InputError("bad-number", "phantom", fault, "give other numbers")
    expected = f"a phantom cohort ({README_NAME} that names the phantom and its version)"
    check_replaceable(Path(output_dir), overwrite, expected, is_cohort)
    cases = sorted(plan_cohort(num_scans, seed), key=lambda case: case.patient)
    with atomic_directory(output_dir, overwrite) as folder:
        (folder / "ct_scans").mkdir()
        (folder / "masks").mkdir()
        write = partial(_write_scan, folder=folder)
        slices = map_in_order(
            write, cases, num_workers=num_workers, description="phantom", unit="scan", progress=progress
        )
        rows = list(chain.from_iterable(slices))
        _write_slice_table(folder / "hemorrhage_diagnosis_raw_ct.csv", rows)
        _write_patient_table(folder / "Patient_demographics.csv", cases, rows)
        counts = f"{num_scans} scans, {sum(bool(case.kinds) for case in cases)} with hemorrhage"
        layout = "PhysioNet CT-ICH 1.3.x"
        write_readme(folder, version=PHANTOM_VERSION, seed=seed, counts=counts, layout=layout, files=_FILES)
        lines = [
            f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(folder).as_posix()}\n"
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        (folder / CHECKSUM_FILE).write_text("".join(lines), encoding="utf-8")
    return Path(output_dir)


def _patients(seed: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield patient numbers with their first kinds."""
    first: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for table in (IHSNET_TRAIN, IHSNET_TEST):
        for kind, patients in table.items():
            first[kind] += [patient for patient in patients if patient not in _CORRECTIONS]
    for patient, kinds in _CORRECTIONS.items():
        first[kinds[0]].append(patient)
    in_turn = list(filter(None, chain.from_iterable(zip_longest(*first.values()))))
    kind_of = {patient: kind for kind, patients in first.items() for patient in patients}
    healthy = [patient for patient in PUBLISHED_PATIENTS if patient not in kind_of]
    for patient in filter(None, chain.from_iterable(zip_longest(in_turn, healthy))):
        kinds = (kind_of[patient],) if patient in kind_of else ()
        yield patient, _CORRECTIONS.get(patient, kinds)
    for patient in range(PUBLISHED_PATIENTS[-1] + 1, _LAST_PATIENT + 1):
        rng = np.random.default_rng([seed, 13, patient])
        yield patient, (str(rng.choice(KINDS)),) if rng.random() < _SHARE_POSITIVE else ()


@dataclass(frozen=True)
class _SliceRow:
    patient: int
    number: int
    kinds: tuple[str, ...]
    fractured: bool


def _write_scan(case: CohortCase, folder: Path) -> list[_SliceRow]:
    """Write image and mask of a case and return what its slices show."""
    from nnunet_multitask.dataset_conversion.phantom_kinds import KINDS as KIND_VALUES

    scan = case.draw()
    name = f"{case.patient:03d}.nii"
    _save(scan.image, scan.affine, folder / "ct_scans" / name)
    _save(scan.mask.astype(np.int16) * 255, scan.affine, folder / "masks" / name)
    rows = []
    for index, (kinds, fracture) in enumerate(zip(scan.kinds, scan.fracture, strict=True)):
        present = [KIND_VALUES[value - 1] for value in np.unique(kinds) if value]
        ordered = tuple(kind for kind in KINDS if kind in present)
        rows.append(_SliceRow(case.patient, index + 1, ordered, bool(fracture.any())))
    return rows


def _save(array: npt.NDArray[Any], affine: npt.NDArray[np.float64], path: Path) -> None:
    """Write (Z, Y, X) with axes to left, anterior and superior, as published; the scan's run to the back."""
    import nibabel

    to_anterior = np.diag([1.0, -1.0, 1.0, 1.0])
    to_anterior[1, 3] = array.shape[1] - 1
    nifti = nibabel.Nifti1Image(np.ascontiguousarray(array[:, ::-1].T), affine @ to_anterior)
    nifti.header.set_xyzt_units("mm")
    nifti.set_qform(nifti.affine, code=1)
    nifti.set_sform(nifti.affine, code=1)
    nibabel.save(nifti, path)


def _write_slice_table(path: Path, rows: Sequence[_SliceRow]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        columns = ["PatientNumber", "SliceNumber", *KIND_COLUMNS.values(), "No_Hemorrhage", "Fracture_Yes_No"]
        writer.writerow(columns)
        for row in rows:
            flags = [int(kind in row.kinds) for kind in KIND_COLUMNS]
            writer.writerow([row.patient, row.number, *flags, int(not row.kinds), int(row.fractured)])


def _write_patient_table(path: Path, cases: Sequence[CohortCase], rows: Sequence[_SliceRow]) -> None:
    """Write the table of patients with the published header: two rows, line breaks and blanks inside cells."""
    kinds: dict[int, set[str]] = {}
    fractured: set[int] = set()
    for row in rows:
        kinds.setdefault(row.patient, set()).update(row.kinds)
        fractured |= {row.patient} if row.fractured else set()
    people = {case.patient: (case.age_years, case.sex) for case in cases}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        title = "Hemorrhage type based on the radiologists diagnosis "
        writer.writerow(
            ["Patient Number", "Age\n(years)", "Gender", title, "", "", "", "", "Fracture (yes 1/no 0)", "Note1"]
        )
        writer.writerow(["", "", "", *KIND_COLUMNS.values(), "", ""])
        for patient in sorted({*people, *WITHOUT_SCAN}):
            age, sex = people.get(patient, (30, "Male"))
            flags = ["1" if kind in kinds.get(patient, ()) else "" for kind in KIND_COLUMNS]
            writer.writerow([patient, age, sex, *flags, "1" if patient in fractured else "", ""])
