"""How many cases there are of each class: by part, by official split, and by what their masks hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from nnunet_multitask.dataset_conversion.case_checks import CaseFindings
from nnunet_multitask.dataset_conversion.dataset_json_checks import IGNORE
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.splits import UNKNOWN, class_counts

PARTS = ("training", "test")
KINDS = ("foreground", "empty", "unknown", "no mask")  # of masks
NO_CLASS = "no class"  # known to have none of the classes of a multilabel target

_PART_OF = {"train": "training", "training": "training", "test": "test"}  # what is what as a rule
_SPLIT_ORDER = {"train": 0, "val": 1, "test": 2}
_KIND_TITLES = {
    "foreground": "with foreground",
    "empty": "empty mask",
    "unknown": "partly ignored",
    "no mask": "without mask",
}


def count_classes(
    sidecar: LabelSidecar | None, findings: Collection[CaseFindings], labels: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Return the counts of a verification.

    Args:
        sidecar: None where it cannot be read; then there are no classes.
        findings: of every case.
        labels: of dataset.json, name to mask values.

    Returns:
        ``training``, ``test`` and ``label_only``: cases. ``classes``: target to class (or ``unknown``, for multilabel
        also ``no class``) to training cases. ``parts`` and ``splits``: name to ``{"cases": n, "classes": ...}``.
        ``masks``: target to class to the number of cases whose mask is of each of ``KINDS``, and under ``labels`` of
        those that hold each label.
    """
    by_part = {part: [f.files.case_id for f in findings if f.files.part == part] for part in PARTS}
    kinds = {f.files.case_id: f.mask.kind for f in findings if f.mask is not None}
    counts: dict[str, Any] = {
        **{part: len(case_ids) for part, case_ids in by_part.items()},
        "label_only": sum(kind == "no mask" for kind in kinds.values()),
        "classes": {},
        "parts": {part: {"cases": len(case_ids), "classes": {}} for part, case_ids in by_part.items()},
        "splits": {},
        "masks": {},
    }
    if sidecar is None:
        return counts
    counts["classes"] = count_labels(sidecar, by_part["training"])
    for part, case_ids in by_part.items():
        counts["parts"][part]["classes"] = count_labels(sidecar, case_ids)
    present = [f.files.case_id for f in findings]
    splits = {split for c in present if c in sidecar.cases and (split := sidecar.cases[c].split)}
    for split in sorted(splits, key=lambda name: (_SPLIT_ORDER.get(name, len(_SPLIT_ORDER)), name)):
        members = [c for c in present if c in sidecar.cases and sidecar.cases[c].split == split]
        counts["splits"][split] = {"cases": len(members), "classes": count_labels(sidecar, members)}
    counts["masks"] = _mask_counts(sidecar, findings, labels)
    return counts


def count_labels(sidecar: LabelSidecar, case_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return for each target the cases of each class, ``unknown`` ones, and for multilabel those of ``no class``."""
    counts = class_counts(sidecar, case_ids)
    for name, target in sidecar.targets.items():
        if target.type == "multilabel":
            labels = [sidecar.cases[c].labels.get(name) for c in case_ids if c in sidecar.cases]
            counts[name][NO_CLASS] = labels.count(())
    return counts


def count_table(counts: Mapping[str, Any]) -> list[str]:
    """Return the counts as lines of text: a table for each target, a row for each class."""
    lines = []
    for target, classes in counts["masks"].items():
        columns: dict[str, dict[str, int]] = {
            part: entry["classes"][target] for part, entry in counts["parts"].items() if entry["cases"]
        }
        for name, entry in counts["splits"].items():
            numbers = entry["classes"][target]
            if numbers != columns.get(_PART_OF.get(name, "")):  # where they are the same, a column less
                columns[f"split {name}"] = numbers
        for kind in KINDS:
            columns[_KIND_TITLES[kind]] = {name: entry[kind] for name, entry in classes.items()}
        names = [label for entry in classes.values() for label in entry["labels"]]
        if len(set(names)) > 1:
            for label in dict.fromkeys(names):
                columns[f"with {label}"] = {name: entry["labels"][label] for name, entry in classes.items()}
        shown = {
            title: numbers
            for title, numbers in columns.items()
            if title in PARTS or title.startswith("split") or any(numbers.values())
        }
        rows = [
            name
            for name in classes
            if name not in (UNKNOWN, NO_CLASS) or any(numbers[name] for numbers in shown.values())
        ]
        lines += _table([target, *shown], [[name, *(str(n[name]) for n in shown.values())] for name in rows])
    return lines


def _mask_counts(
    sidecar: LabelSidecar, findings: Collection[CaseFindings], labels: Mapping[str, tuple[int, ...]]
) -> dict[str, dict[str, dict[str, Any]]]:
    names = [name for name, values in labels.items() if name != IGNORE and values != (0,)]
    counts: dict[str, dict[str, dict[str, Any]]] = {
        target.name: {
            label: {**dict.fromkeys(KINDS, 0), "labels": dict.fromkeys(names, 0)}
            for label in (*target.classes, UNKNOWN, *([NO_CLASS] if target.type == "multilabel" else []))
        }
        for target in sidecar.targets.values()
    }
    for found in findings:
        if found.mask is None:
            continue
        case = sidecar.cases.get(found.files.case_id)
        for target in counts:
            label = UNKNOWN if case is None else case.labels.get(target, UNKNOWN)
            for class_name in (label,) if isinstance(label, str) else label or (NO_CLASS,):
                entry = counts[target][class_name]
                entry[found.mask.kind] += 1
                for name in names:
                    entry["labels"][name] += found.mask.total(labels[name]) > 0
    return counts


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of aligned columns: names to the left, numbers to the right."""
    widths = [
        max(len(row[i]) + (2 if i == 0 and row is not header else 0) for row in (header, *rows))
        for i in range(len(header))
    ]
    lines = [
        header[0].ljust(widths[0])
        + "".join(f"  {cell:>{width}}" for cell, width in zip(header[1:], widths[1:], strict=True))
    ]
    for row in rows:
        cells = "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append(f"  {row[0]}".ljust(widths[0]) + cells)
    return lines
