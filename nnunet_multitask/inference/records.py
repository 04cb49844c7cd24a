"""Records of cases: one small file each while a prediction runs, and ``classification.json`` of all at its end."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import check_schema, read_json
from nnunet_multitask.errors import InputError, InputErrors, collecting
from nnunet_multitask.files import ENDINGS, read_mask
from nnunet_multitask.labels import Target

CLASSIFICATION_JSON = "classification.json"
WORKLIST_CSV = "worklist.csv"
RECORDS = ".records"  # folder of the records of a prediction that runs, or was stopped
UNFINISHED = ".unfinished"  # folder of the files of cases that are being written


def record_path(folder: Path, case_id: str) -> Path:
    """Return the file of a case's record in the folder of the masks."""
    return folder / RECORDS / f"{case_id}.json"


def record_document(
    model: Mapping[str, Any],
    settings: Mapping[str, Any] | None,
    targets: Mapping[str, Target],
    cases: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a ``classification.json``.

    Args:
        model: what predicted the cases.
        settings: how it did; None where that is not told.
        targets: by name.
        cases: the records, by case.
    """
    return {
        "version": 1,
        "model": dict(model),
        **({} if settings is None else {"settings": dict(settings)}),
        "targets": {target.name: {"type": target.type, "classes": list(target.classes)} for target in targets.values()},
        "cases": dict(sorted(cases.items())),
    }


def read_records(path: Path) -> dict[str, Any]:
    """Return the records of an earlier ``classification.json`` by case; none where there is no file."""
    if not path.is_file():
        return {}
    document = read_json(path)
    check_schema(document, CLASSIFICATION_JSON, path)
    records: dict[str, Any] = document["cases"]
    return records


def earlier_records(
    folder: Path, name: str, case_ids: Iterable[str], model: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what an earlier run of the same prediction said of its cases, finished or stopped.

    Args:
        folder: of the masks.
        name: file name of the classification.
        case_ids: those whose single records are looked for; of the classification it is all cases.
        model: what predicts now.
        settings: how.

    Returns:
        Records by case; files that cannot be read count as none.

    Raises:
        InputError: they are of another model or other settings.
        InputErrors: the ``classification.json`` is damaged.
    """
    records: dict[str, Any] = {}
    path = folder / name
    if path.is_file():
        document = _read_classification(path)
        _check_same(document, path, model, settings)
        records |= document["cases"]
    for case_id in case_ids:
        path = record_path(folder, case_id)
        try:
            document = read_json(path)
            check_schema(document, CLASSIFICATION_JSON, path)
        except (InputError, InputErrors):
            continue
        _check_same(document, path, model, settings)
        records |= document["cases"]
    return records


def check_same_run(folder: Path, name: str, model: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse to continue what another model or other settings began; arguments and errors as `earlier_records`."""
    earlier_records(folder, name, [path.stem for path in (folder / RECORDS).glob("*.json")], model, settings)


def has_mask(folder: Path, case_id: str, ending: str, save_probabilities: bool) -> bool:
    """Tell whether the mask of a case, and its probabilities where they are asked for, can be read to the last byte.

    Of a format that `read_mask` does not know it is enough that the file is there.
    """
    mask = folder / f"{case_id}{ending}"
    if not mask.is_file():
        return False
    if ending.endswith(ENDINGS):
        try:
            read_mask(mask)
        except InputError:
            return False
    return not save_probabilities or _is_whole_zip(folder / f"{case_id}.npz")


def forget(folder: Path, name: str, case_ids: Iterable[str]) -> None:
    """Remove what says that cases are done, before they are predicted anew; their masks stay until they are replaced.

    Args:
        folder: of the masks.
        name: file name of the classification.
        case_ids: the cases.
    """
    for path in (folder / name, (folder / name).with_suffix(".csv"), folder / worklist_name(name)):
        path.unlink(missing_ok=True)
    forget_records(folder, name, case_ids)


def forget_records(folder: Path, name: str, case_ids: Iterable[str]) -> None:
    """Remove the records of cases and what was left unfinished of them; arguments as `forget`."""
    for case_id in case_ids:
        record_path(folder, case_id).unlink(missing_ok=True)
        shutil.rmtree(folder / UNFINISHED / case_id, ignore_errors=True)
    if name == CLASSIFICATION_JSON:  # else other parts of the work are using the folders
        for hidden in (RECORDS, UNFINISHED):
            with suppress(OSError):
                (folder / hidden).rmdir()


def worklist_name(name: str) -> str:
    """Return the name of the worklist beside a classification of that name."""
    return name.replace(Path(CLASSIFICATION_JSON).stem, Path(WORKLIST_CSV).stem).replace(".json", ".csv")


def _read_classification(path: Path) -> dict[str, Any]:
    """Read what a prediction is to continue; where it is damaged, say how to go on without it."""
    errors: list[InputError] = []
    with collecting(errors):
        document: dict[str, Any] = read_json(path)
        check_schema(document, CLASSIFICATION_JSON, path)
        return document
    remedy = "or predict without --continue_prediction, which makes it anew"
    raise InputErrors([InputError(e.code, e.where, e.fault, f"{e.remedy}, {remedy}") for e in errors])


def _check_same(document: Mapping[str, Any], path: Path, model: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    other = [
        f"{key} {found[key]!r} instead of {wanted[key]!r}"
        for found, wanted in ((document.get("model", {}), model), (document.get("settings", {}), settings))
        for key in wanted
        if key in found and found[key] != wanted[key]
    ]
    if other:
        raise InputError(
            "other-model",
            path,
            f"expected cases of the same model and options, got {'; '.join(other)}",
            "predict into another folder, with the same options, or without --continue_prediction",
        )


def _is_whole_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False
