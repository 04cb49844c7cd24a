"""Where the files of PhysioNet CT-ICH lie: NIfTI volumes in 1.3.x, JPEG slices in 1.0 to 1.2, and their checksums."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_multitask.datasets import list_cases
from nnunet_multitask.errors import InputError
from nnunet_multitask.storage import read_bytes

CHECKSUM_FILE = "SHA256SUMS.txt"

_PATIENT_TABLE = "patient_demographics.csv"  # 1.3.x writes it with a capital, in the folder but not in its Read_me
_CHECKSUM_LINE = re.compile(r"([0-9a-fA-F]{64})\s+\*?(\S.*)")


@dataclass(frozen=True)
class Layout:
    """The files of one release.

    Args:
        version: ``1.3.x`` or ``1.0 to 1.2``.
        scans: patient number to NIfTI file, or to the folder with ``brain`` and ``bone``.
        masks: patient number to NIfTI file, or to the folder ``brain``, which holds the masks, too.
        slice_table: what each slice shows.
        patient_table: who each patient is; None where it is missing.
        errors: scans and masks whose names are no patient numbers, or name a patient twice; they are in neither map.
    """

    version: str
    scans: Mapping[int, Path]
    masks: Mapping[int, Path]
    slice_table: Path
    patient_table: Path | None
    errors: tuple[InputError, ...] = ()

    @property
    def is_nifti(self) -> bool:
        """Whether the scans are volumes in Hounsfield units."""
        return self.version == "1.3.x"


def find_layout(root: Path) -> Layout:
    """Return the files of a folder, the version being found by its layout.

    Raises:
        InputError: neither layout, or both.
    """
    nifti, jpeg = (root / "ct_scans").is_dir(), (root / "Patients_CT").is_dir()
    if nifti == jpeg:
        found = "both" if nifti else "neither"
        fault = f"expected the folder ct_scans (1.3.x) or Patients_CT (1.0 to 1.2), found {found}"
        raise InputError("unknown-layout", root, fault, "point --input at the folder that holds one of the two")
    tables = [path for path in sorted(root.iterdir()) if path.name.lower() == _PATIENT_TABLE]
    patient_table = tables[0] if tables else None
    errors: list[InputError] = []
    if nifti:
        scans = _by_patient(_volumes(root / "ct_scans"), errors)
        masks = _by_patient(_volumes(root / "masks") if (root / "masks").is_dir() else (), errors)
        table = root / "hemorrhage_diagnosis_raw_ct.csv"
        return Layout("1.3.x", scans, masks, table, patient_table, tuple(errors))
    folders = [(path.name, path) for path in sorted((root / "Patients_CT").iterdir()) if path.is_dir()]
    scans = _by_patient(folders, errors)
    brains = {patient: path / "brain" for patient, path in scans.items()}
    return Layout("1.0 to 1.2", scans, brains, root / "hemorrhage_diagnosis.csv", patient_table, tuple(errors))


def read_checksums(root: Path) -> tuple[dict[Path, str], list[InputError]]:
    """Return the SHA-256 of each file that ``SHA256SUMS.txt`` names; none where there is no such file.

    Returns:
        The checksums, hexadecimal, and an error for each line of another form.
    """
    path = root / CHECKSUM_FILE
    if not path.exists():
        return {}, []
    checksums = {}
    errors = []
    for number, line in enumerate(read_bytes(path).decode("utf-8-sig", errors="replace").splitlines(), start=1):
        match = _CHECKSUM_LINE.fullmatch(line.strip())
        if match:
            checksums[root / match[2]] = match[1].lower()
        elif line.strip():
            fault = f"expected a SHA-256 and a file name, got {line[:80]!r}"
            errors.append(InputError("bad-checksums", f"{path}: line {number}", fault, "download the file again"))
    return checksums, errors


def check_digest(path: Path, digest: str, checksums: Mapping[Path, str]) -> None:
    """Check that a file is the published one, where its checksum was published, too.

    Args:
        path: the file.
        digest: SHA-256 of its bytes, hexadecimal.
        checksums: from ``read_checksums``.

    Raises:
        InputError: it is another.
    """
    if checksums.get(path, digest) != digest:
        fault = f"expected the SHA-256 {checksums[path]} of {CHECKSUM_FILE}, got {digest}"
        remedy = f"download the file again; where it was changed on purpose, remove its line from {CHECKSUM_FILE}"
        raise InputError("checksum-differs", path, fault, remedy)


def _volumes(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name without ending and path of each NIfTI file; published is ``.nii``, many users compress it."""
    for ending in (".nii", ".nii.gz"):
        yield from list_cases(folder, ending).items()


def _by_patient(paths: Iterable[tuple[str, Path]], errors: list[InputError]) -> dict[int, Path]:
    """Return files or folders by the number that their name is, and add those that have none to ``errors``."""
    patients: dict[int, Path] = {}
    for name, path in paths:
        if not (name.isascii() and name.isdigit()):
            fault = f"expected a patient number as name, got {name[:40]!r}"
            errors.append(InputError("bad-image-name", path, fault, "rename or remove it"))
        elif int(name) in patients:
            fault = f"expected patient {int(name)} once, {patients[int(name)].name} is the same"
            errors.append(InputError("duplicate-case", path, fault, "remove one of the two"))
        else:
            patients[int(name)] = path
    return patients
