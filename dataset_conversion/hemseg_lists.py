"""What the tables and lists of HemSeg-200 and HemSeg-500 say of each scan: class, patient, DICOM slices."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_multitask.dataset_conversion.tables import Row, read_table
from nnunet_multitask.errors import InputError, collecting
from nnunet_multitask.storage import read_bytes

SPLITS = ("train", "val", "test")
CLASSES = ("IPH", "IVH")  # the tables write them as 0 and 1
LIST_PATTERN = "annotion_file_info*.jsonl"  # the source's own spelling; the 500 adds _500

_SLICE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class ListedScan:
    """One line of a list.

    Args:
        patient: name of the patient.
        slices: names of the DICOM files without ``ID_`` and ``.dcm``, each once, in the order of the list.
        num_repeated: entries of the list that repeat another one; the published lists have such.
        place: file and line, for messages.
    """

    patient: str
    slices: tuple[str, ...]
    num_repeated: int
    place: str


def read_classes(folder: Path) -> tuple[dict[str, str], list[InputError]]:
    """Return the class of each scan that any of train_set.csv, val_set.csv and test_set.csv names.

    Returns:
        The classes, as far as they can be read, and every fault: none of the tables is there, one is no table, unknown
        classes, scans with two classes.
    """
    classes: dict[str, str] = {}
    places: dict[str, str] = {}
    errors: list[InputError] = []
    paths = [folder / f"{split}_set.csv" for split in SPLITS if (folder / f"{split}_set.csv").exists()]
    if not paths:
        fault = "expected train_set.csv, val_set.csv or test_set.csv, found none"
        remedy = "add the tables with filename,label, or name --annotations"
        return {}, [InputError("missing-file", folder, fault, remedy)]
    for path in paths:
        columns, rows = ["filename", "label"], list[Row]()
        with collecting(errors):
            columns, rows = read_table(path)
        if not {"filename", "label"} <= set(columns):
            fault = f"expected the columns filename and label, got {', '.join(columns)}"
            errors.append(InputError("bad-table", path, fault, "correct the header"))
            continue
        for row in rows:
            place = f"{path}: line {row.number}"
            scan, label = row.values["filename"], row.values["label"]
            if label not in ("0", "1"):
                fault = f"expected 0 (IPH) or 1 (IVH), got {label!r}"
                errors.append(InputError("unknown-class", place, fault, "correct it"))
                continue
            if classes.get(scan, CLASSES[int(label)]) != CLASSES[int(label)]:
                fault = f"expected one class for {scan}, {places[scan]} has another"
                errors.append(InputError("duplicate-case", place, fault, "remove the wrong row"))
            classes[scan] = CLASSES[int(label)]
            places[scan] = place
    return classes, errors


def read_lists(folder: Path) -> tuple[dict[str, ListedScan], list[InputError]]:
    """Return what the lists say of each scan; a folder without lists gives nothing.

    The two releases write their lines in different forms: ``patient``, ``scan_`` and a list of slices, or
    ``patient_name``, ``scan_name`` and slices by number, the numbers sorted as text. Both lists may be there, and name
    the same scan.

    Returns:
        The scans, as far as the lists can be read, and every fault: files that are no text, lines of another form, and
        lines that contradict each other.
    """
    scans: dict[str, ListedScan] = {}
    errors: list[InputError] = []
    for path in sorted(folder.glob(LIST_PATTERN)):
        lines: list[str] = []
        with collecting(errors):
            lines = _lines(path)
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{path}: line {number}"
            parsed = _parse(line, place)
            if parsed is None:
                fault = 'expected {"patient": ..., "scan_": ..., "slice_list": ...}, got ' + line[:80]
                errors.append(InputError("bad-json", place, fault, "correct the line, or remove the file"))
                continue
            scan, entry = parsed
            other = scans.setdefault(scan, entry)
            if other.patient != entry.patient or set(other.slices) != set(entry.slices):
                fault = f"expected one patient and one set of slices for {scan}, {other.place} has others"
                errors.append(InputError("duplicate-case", place, fault, "remove the wrong line"))
    return scans, errors


def _lines(path: Path) -> list[str]:
    try:
        return read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError("bad-json", path, "expected UTF-8 text, got other bytes", "save it as UTF-8") from error


def _parse(line: str, place: str) -> tuple[str, ListedScan] | None:
    """Return name and content of a line, or None for another form."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, Mapping):
        return None
    scan = entry.get("scan_", entry.get("scan_name"))
    patient = entry.get("patient", entry.get("patient_name"))
    slices = _slices(entry.get("slice_list", []))
    if not (isinstance(scan, str) and isinstance(patient, str) and patient) or slices is None:
        return None
    unique = tuple(dict.fromkeys(slices))
    return scan, ListedScan(patient, unique, len(slices) - len(unique), place)


def _slices(listed: Any) -> list[str] | None:
    if isinstance(listed, Mapping):
        if not all(str(key).isdigit() for key in listed):
            return None
        listed = [listed[key] for key in sorted(listed, key=int)]
    if not isinstance(listed, list):
        return None
    # a name becomes a part of a path
    return listed if all(isinstance(name, str) and _SLICE_NAME.fullmatch(name) for name in listed) else None
