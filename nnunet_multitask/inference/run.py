"""One call of a prediction that writes: which cases are done, which are being predicted, and the files at its end."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import read_json
from nnunet_multitask.inference.records import (
    CLASSIFICATION_JSON,
    earlier_records,
    forget,
    forget_records,
    has_mask,
    record_document,
    record_path,
)
from nnunet_multitask.inference.worklist import Choice
from nnunet_multitask.inference.writers import write_documents
from nnunet_multitask.labels import Target

logger = logging.getLogger(__name__)


def classification_name(part_id: int, num_parts: int) -> str:
    """Return the file name of the classification; parts that run at the same time write one each."""
    if num_parts == 1:
        return CLASSIFICATION_JSON
    return CLASSIFICATION_JSON.replace(".json", f"_part_{part_id}_of_{num_parts}.json")


class Run:
    """Keeps account of the cases of one call.

    Args:
        name: file name of the classification, in each folder that masks are written to.
    """

    def __init__(self, name: str = CLASSIFICATION_JSON) -> None:
        self.name = name
        self._kept: dict[Path, dict[str, Any]] = {}  # by folder: records of cases that were done before
        self._written: dict[Path, list[str]] = {}  # by folder: cases that are being predicted

    def done(
        self,
        outputs: Sequence[Path],
        ending: str,
        save_probabilities: bool,
        model: Mapping[str, Any],
        settings: Mapping[str, Any],
    ) -> set[int]:
        """Return which outputs are done, by number: their record exists, and their mask can be read to its end.

        Args:
            outputs: paths of the masks without their ending.
            ending: of the masks.
            save_probabilities: the probabilities are asked for, too.
            model, settings: of this call; those of the records must be the same.

        Raises:
            InputError: they are not.
        """
        found = set()
        for folder in dict.fromkeys(output.parent for output in outputs):
            here = {index: output.name for index, output in enumerate(outputs) if output.parent == folder}
            records = earlier_records(folder, self.name, list(here.values()), model, settings)
            # cases that nobody asks for this time stay as they are
            others = {case_id: record for case_id, record in records.items() if case_id not in here.values()}
            self._kept.setdefault(folder, {}).update(others)
            for index, case_id in here.items():
                if case_id in records and has_mask(folder, case_id, ending, save_probabilities):
                    found.add(index)
                    self._kept[folder][case_id] = records[case_id]
            self._written.setdefault(folder, [])
        return found

    def begin(self, outputs: Sequence[Path], overwrite: bool) -> None:
        """Forget what earlier runs said of cases that are about to be predicted."""
        for output in outputs:
            self.writes(output)
        for folder, case_ids in self._written.items():
            if overwrite:
                forget(folder, self.name, case_ids)
                if self.name != CLASSIFICATION_JSON:  # what was joined of other parts says of these cases what was
                    forget(folder, CLASSIFICATION_JSON, ())
            else:
                forget_records(folder, self.name, case_ids)

    def writes(self, output: Path) -> None:
        """Note that the mask of a case is going to be written; ``output`` is its path without ending."""
        case_ids = self._written.setdefault(output.parent, [])
        if output.name not in case_ids:
            case_ids.append(output.name)

    def finish(
        self,
        model: Mapping[str, Any],
        settings: Mapping[str, Any],
        targets: Mapping[str, Target],
        worklist: Choice | None,
    ) -> None:
        """Join the records of each folder to a classification, and remove their single files."""
        for folder, case_ids in self._written.items():
            cases = dict(self._kept.get(folder, {}))
            for case_id in case_ids:
                cases |= read_json(record_path(folder, case_id))["cases"]
            document = record_document(model, settings, targets, cases)
            write_documents(folder, self.name, document, worklist)
            forget_records(folder, self.name, cases)
            if self.name != CLASSIFICATION_JSON:
                join_parts(folder, self.name, worklist)


def join_parts(folder: Path, name: str, worklist: Choice | None) -> None:
    """Write the classification of all parts of the work, where each of them has come to its end.

    Args:
        folder: of the masks.
        name: file name of one of the parts; those of another model or other settings are not joined.
        worklist: what sorts the worklist.
    """
    _, _, _, num_parts = Path(name).stem.rsplit("_", 3)
    paths = [folder / classification_name(part, int(num_parts)) for part in range(int(num_parts))]
    if not all(path.is_file() for path in paths):
        return
    documents = [read_json(path) for path in paths]
    heads = [{key: value for key, value in document.items() if key != "cases"} for document in documents]
    if any(head != heads[0] for head in heads):
        logger.warning("%s: its parts are of several models or options, and are not joined", folder)
        return
    cases = {case_id: record for document in documents for case_id, record in document["cases"].items()}
    write_documents(folder, CLASSIFICATION_JSON, {**heads[0], "cases": dict(sorted(cases.items()))}, worklist)
    forget_records(folder, CLASSIFICATION_JSON, ())  # their folders, which other parts no longer use
