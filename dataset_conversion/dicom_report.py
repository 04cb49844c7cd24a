"""The report of a DICOM conversion, which keeps patient data out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_multitask.errors import InputError

if TYPE_CHECKING:
    from nnunet_multitask.dataset_conversion.dicom_headers import NoSlice
    from nnunet_multitask.dataset_conversion.dicom_series import Stack

logger = logging.getLogger(__name__)

NO_SERIES = "no series"  # stands for the case of files that belong to none


@dataclass(frozen=True)
class Outcome:
    """What became of one stack.

    Args:
        facts: of the volume, for the report.
        inputs: every file read, with its SHA-256.
        warnings: what a user should know.
        faults: why it was not converted; empty where it was.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[Path, str] = field(default_factory=dict)
    warnings: tuple[InputError, ...] = ()
    faults: tuple[InputError, ...] = ()


def digest(series_uid: str) -> str:
    """Return 12 hexadecimal digits that stand for a series: who has the DICOM files can find them again."""
    return hashlib.sha256(series_uid.encode()).hexdigest()[:12]


class SeriesReport:
    """What became of every series and file.

    Args:
        input_dir: paths in the report are relative to it.
        with_paths: whether paths may enter the report at all; the log names files anyway.
    """

    def __init__(self, input_dir: Path, with_paths: bool) -> None:
        self.input_dir = input_dir
        self.with_paths = with_paths
        self.series: dict[str, Any] = {}
        self.excluded: list[dict[str, Any]] = []
        self.warnings: list[str] = []

    def leave_out(self, files: Sequence[NoSlice]) -> None:
        """Note files that hold no slice, those of one series and reason together."""
        groups: dict[tuple[str, str, str], list[NoSlice]] = {}
        for file in files:
            groups.setdefault((file.series_uid, file.code, file.fault), []).append(file)
        for (series_uid, code, reason), members in groups.items():
            name = digest(series_uid) if series_uid else NO_SERIES
            entry = {"case": name, "code": code, "reason": reason, "files": len(members)}
            if self.with_paths:
                entry["paths"] = [self._relative(file.where) for file in members]
            self.excluded.append(entry)
            others = f" and {len(members) - 1} more" if len(members) > 1 else ""
            logger.info("left out [%s] %s%s: %s", code, members[0].where, others, reason)

    def leave_out_stack(self, name: str, stack: Stack, codes: Sequence[str]) -> None:
        """Note a stack that has faults; their text may hold paths and goes to the log only."""
        reason = f"faults: {', '.join(codes)}"
        self.excluded.append({"case": name, "code": codes[0], "reason": reason, "files": len(stack.slices)})

    def take(self, name: str, outcome: Outcome) -> None:
        """Note a converted stack; the log names the files of its warnings where the report may not."""
        for warning in outcome.warnings:
            if not self.with_paths:
                logger.warning("WARN %s", warning)
            place = self._relative(warning.where) if self.with_paths else name
            self.warnings.append(str(InputError(warning.code, place, warning.fault, warning.remedy)))
        inputs: Any = list(outcome.inputs.values())
        if self.with_paths:
            inputs = {self._relative(path): digest for path, digest in outcome.inputs.items()}
        self.series[name] = {**outcome.facts, "inputs": inputs}

    def _relative(self, path: str | Path) -> str:
        return Path(path).relative_to(self.input_dir).as_posix()
