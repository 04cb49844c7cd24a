"""The report of a conversion: every case taken, repaired or excluded and why, with checksums of the files read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from nnunet_multitask import __version__
from nnunet_multitask.dataset_conversion.case_writing import CaseOutcome, relative_name
from nnunet_multitask.dataset_conversion.channels import channel_names, describe_channels
from nnunet_multitask.dataset_conversion.sources import ConversionOptions, Source, SourceCase
from nnunet_multitask.errors import InputError
from nnunet_multitask.labels import LabelSidecar
from nnunet_multitask.splits import class_counts

REPORT_NAME = "conversion_report.json"
REPORT_VERSION = 1

Converted = Sequence[tuple[SourceCase, CaseOutcome]]


def conversion_report(
    source: Source,
    dataset: str,
    outcomes: Converted,
    options: ConversionOptions,
) -> dict[str, Any]:
    """Return the content of conversion_report.json, equal for equal input (no time, no place).

    Args:
        source: the data set.
        dataset: name of the new dataset.
        outcomes: what became of each case; one with faults was left out.
        options: of the conversion.

    Returns:
        A document that follows the schema ``conversion_report.json``.
    """
    taken = [(case, outcome) for case, outcome in outcomes if not outcome.faults]
    excluded: list[dict[str, Any]] = [asdict(item) for item in source.excluded]
    for case, outcome in outcomes:
        excluded += [
            {"case": case.case_id, "code": fault.code, "reason": fault.fault, "inputs": dict(outcome.inputs)}
            for fault in outcome.faults[:1]
        ]
    return {
        "version": REPORT_VERSION,
        "tool": {"name": "nnunet-multitask", "version": __version__},
        "converter": source.converter,
        "dataset": dataset,
        "options": {
            "link": options.link,
            "tolerance_mm": options.tolerance_mm,
            "repair_geometry": options.repair_geometry,
            **asdict(options.channels),
            "windows": list(options.channels.windows),
            **source.options,
        },
        "channels": [
            {"name": name, "content": content}
            for source_name in source.channel_names
            for name, content in zip(
                channel_names(options.channels, source_name),
                describe_channels(options.channels, source_name),
                strict=True,
            )
        ],
        "counts": {
            "training": sum(not case.is_test for case, _ in taken),
            "test": sum(case.is_test for case, _ in taken),
            "label_only": sum(outcome.label_only for _, outcome in taken),
            "repaired": sum(bool(outcome.repairs) for _, outcome in taken),
            "excluded": len(excluded),
        },
        "classes": {
            "training": _class_counts(source, [pair for pair in taken if not pair[0].is_test]),
            "test": _class_counts(source, [pair for pair in taken if pair[0].is_test]),
        },
        "splits": {
            split: _class_counts(source, [pair for pair in taken if pair[1].case.split == split])
            for split in sorted({outcome.case.split for _, outcome in taken if outcome.case.split is not None})
        },
        "excluded": excluded,
        "warnings": [
            *source.warnings,
            *(text for _, outcome in taken for text in outcome.warnings),
            *_twin_warnings(taken),
        ],
        "cases": {case.case_id: _case_entry(case, outcome, source) for case, outcome in taken},
    }


def _class_counts(source: Source, taken: Converted) -> dict[str, dict[str, int]]:
    cases = {case.case_id: outcome.case for case, outcome in taken}
    return class_counts(LabelSidecar(source.targets, cases), list(cases))


def _twin_warnings(taken: Converted) -> list[str]:
    """Name the cases whose images hold the same voxels."""
    twins: dict[tuple[str, ...], list[SourceCase]] = {}
    for case, outcome in taken:
        twins.setdefault(outcome.voxel_digests, []).append(case)
    warnings = []
    for cases in twins.values():
        if len(cases) > 1:
            names = ", ".join(f"{case.case_id} ({'test' if case.is_test else 'training'})" for case in cases)
            fault = "expected every image once, got the same voxels for all of them"
            warnings.append(str(InputError("duplicate-image", names, fault, "keep one")))
    return warnings


def _case_entry(case: SourceCase, outcome: CaseOutcome, source: Source) -> dict[str, Any]:
    return {
        "status": "repaired" if outcome.repairs else "taken",
        "part": "test" if case.is_test else "training",
        "images": [relative_name(path, source.folder) for path in case.images],
        "mask": None if case.mask is None else relative_name(case.mask, source.folder),
        "inputs": dict(outcome.inputs),
        "repairs": list(outcome.repairs),
        "foreground_voxels": outcome.foreground_voxels,
    }
