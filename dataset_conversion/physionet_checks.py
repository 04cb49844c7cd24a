"""Whether the tables, scans and masks of PhysioNet CT-ICH belong together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from nnunet_multitask.dataset_conversion.physionet_labels import kinds_of
from nnunet_multitask.dataset_conversion.physionet_layout import Layout, check_digest
from nnunet_multitask.dataset_conversion.physionet_tables import (
    Patient,
    SliceTable,
    read_patient_table,
    read_slice_table,
)
from nnunet_multitask.errors import InputError, collecting
from nnunet_multitask.storage import read_bytes


def read_tables(
    layout: Layout, checksums: Mapping[Path, str], errors: list[InputError]
) -> tuple[SliceTable | None, dict[int, Patient], list[str]]:
    """Return both tables, and what is odd about them; the table of patients may be missing.

    Args:
        layout: where they lie.
        checksums: from ``read_checksums``.
        errors: gets the faults of both tables.

    Returns:
        The table of slices, None where it cannot be read; the patients, none where theirs cannot be read; warnings.
    """
    for path in (layout.slice_table, layout.patient_table):
        if path is not None and path in checksums:
            with collecting(errors):
                check_digest(path, hashlib.sha256(read_bytes(path)).hexdigest(), checksums)
    table: SliceTable | None = None
    patients: dict[int, Patient] | None = None
    odd: list[str] = []
    with collecting(errors):
        table = read_slice_table(layout.slice_table)
    if layout.patient_table is None:
        name = f"{'P' if layout.is_nifti else 'p'}atient_demographics.csv"  # as each release writes it
        odd = [f"there is no {name}: age and sex are unknown"]
    else:
        with collecting(errors):
            patients, odd = read_patient_table(layout.patient_table)
    warnings = [*(table.warnings if table else ()), *odd]
    if table is None or patients is None or layout.patient_table is None:
        return table, patients or {}, warnings
    without_scan = sorted(set(patients) - set(layout.scans))
    if without_scan:
        warnings.append(f"{layout.patient_table.name} names patients without a scan: {_listed(without_scan)}")
    without_row = sorted(set(layout.scans) - set(patients))
    if without_row:
        warnings.append(f"{layout.patient_table.name} does not name {_listed(without_row)}: age and sex are unknown")
    for what, differing in _contradictions(table, patients):
        fault = f"expected the {what} of its slices for every patient, got another for {_listed(differing)}"
        remedy = "the slices count; look at the scans"
        warnings.append(str(InputError("contradicting-tables", layout.patient_table.name, fault, remedy)))
    return table, patients, warnings


def _contradictions(table: SliceTable, patients: Mapping[int, Patient]) -> Iterator[tuple[str, list[int]]]:
    """Yield in what the two tables contradict each other, and for whom."""
    both = sorted(set(table.patients) & set(patients))
    kinds, fractures = [], []
    for number in both:
        slices = table.patients[number].values()
        told = patients[number]
        if told.kinds is not None and set(told.kinds) != kinds_of(slices):
            kinds.append(number)
        if told.fracture is not None and told.fracture != any(labels.fracture for labels in slices):
            fractures.append(number)
    for what, differing in (("kinds of hemorrhage", kinds), ("fracture", fractures)):
        if differing:
            yield what, differing


def missing_parts(layout: Layout, table: SliceTable) -> Iterator[InputError]:
    """Yield what lacks its counterpart: scans, rows and masks."""
    scans, masks, rows = set(layout.scans), set(layout.masks), set(table.patients)
    folder = next(iter(layout.scans.values()), layout.slice_table).parent
    for wanted, found, code, where, what in (
        (rows, scans, "missing-image", folder, "a scan of every patient in the table of slices"),
        (masks, scans, "missing-image", folder, "a scan for every mask"),
        (scans, rows, "missing-row", layout.slice_table, "rows for every scan"),
        (scans, masks, "missing-mask", folder.parent / "masks", "a mask for every scan"),
    ):
        if absent := sorted(wanted - found):
            fault = f"expected {what}, found none for {_listed(absent)}"
            yield InputError(code, where, fault, "complete the data, or take it as it is by --allow-missing")


def _listed(patients: Iterable[int]) -> str:
    return ", ".join(str(patient) for patient in patients)
