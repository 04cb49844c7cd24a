"""What may be written where: outputs of ``evaluate`` and ``compare`` are checked before anything is scored."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from nnunet_multitask.errors import InputError

# what tells an evaluation.json and a comparison.json from other JSON documents
EVALUATION_KEYS = {"version", "definitions", "settings", "case_flow", "geometry", "cases", "summary"}
COMPARISON_KEYS = {"version", "definitions", "test_options", "case_set", "baseline", "models", "comparisons"}
SUBFOLDERS = ("out_of_fold", "mapped_classes")  # of a comparison; each has a folder for each model


def check_output(path: Path, *, is_folder: bool) -> None:
    """Refuse an output that cannot be written: it is of the other kind, or nothing can be made in that place."""
    if path.exists() and path.is_dir() != is_folder:
        wanted, found = ("a folder", "a file") if is_folder else ("a file", "a folder")
        raise InputError("bad-output", path, f"expected {wanted} to write, got {found}", "name another --output")
    from nnunet_multitask.storage import writing_errors

    place = path if path.is_dir() else path.absolute().parent
    while not place.exists():
        place = place.parent
    with writing_errors(path), tempfile.TemporaryDirectory(dir=place, prefix=".nnunet-multitask-"):
        pass  # rights alone do not tell: of some file systems root has all of them and can write nothing


def check_evaluation_output(path: Path) -> None:
    """Refuse to replace anything but an earlier evaluation; an input is none."""
    check_output(path, is_folder=False)
    if path.exists() and not _has_keys(path, EVALUATION_KEYS):
        fault = "expected no file, or an evaluation to replace, found another file"
        raise InputError("already-exists", path, fault, "name another --output, or remove the file")


def check_comparison_output(folder: Path) -> bool:
    """Refuse to replace files that no comparison has written.

    Returns:
        Whether the folder holds an earlier comparison.
    """
    from nnunet_multitask.evaluation.report import COMPARISON_NAME, FILE_NAMES

    check_output(folder, is_folder=True)
    if _has_keys(folder / COMPARISON_NAME, COMPARISON_KEYS):
        return True
    found = [name for name in FILE_NAMES if (folder / name).exists()]
    if found:
        fault = f"expected no file of these names, or a comparison to replace, found {', '.join(found)}"
        raise InputError("already-exists", folder, fault, "name another --output, or remove them")
    return False


def remove_stale_models(folder: Path, in_use: Iterable[Path]) -> None:
    """Remove what an earlier comparison left of models that the new one does not have.

    Args:
        folder: the output of both.
        in_use: folders of predictions that the new comparison has read or written; they stay.
    """
    kept = [path.resolve() for path in in_use]
    for parent in (folder / name for name in SUBFOLDERS):
        for model in list(parent.iterdir()) if parent.is_dir() else []:
            if model.is_dir() and not any(path.is_relative_to(model.resolve()) for path in kept):
                shutil.rmtree(model)
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


def _has_keys(path: Path, keys: set[str]) -> bool:
    from nnunet_multitask.documents import read_json

    if not path.is_file():  # a pipe or a device would never end
        return False
    try:
        document = read_json(path)
    except InputError:
        return False
    return isinstance(document, dict) and keys <= document.keys()
