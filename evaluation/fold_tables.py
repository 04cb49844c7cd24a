"""The validation predictions of all folds of a model as one table: found, checked, joined, scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_multitask.documents import read_json
from nnunet_multitask.errors import InputError, InputErrors
from nnunet_multitask.evaluation.classification import score_cases
from nnunet_multitask.evaluation.out_of_fold import MODEL_KEYS, join_folds
from nnunet_multitask.evaluation.predictions import CLASSIFICATION_NAME, parse_classification
from nnunet_multitask.labels import Case, LabelSidecar

TABLE_NAME = "classification_out_of_fold.json"  # in the model's folder
DEFAULT_FOLDS = 5  # nnU-Net's, where there is no splits_final.json


def folds_of_model(
    model_folder: str | Path, folds: Sequence[int] | None = None, num_folds: int | None = None
) -> dict[int | str, Path]:
    """Return the classification.json of the folds of a model that are to be joined, by fold.

    Args:
        model_folder: TRAINER__PLANS__CONFIGURATION.
        folds: which; None: all.
        num_folds: how many there are; None: nnU-Net's five.

    Raises:
        InputError: a fold without the file, or a model of fold all only.
    """
    folder = Path(model_folder)
    wanted = list(range(DEFAULT_FOLDS if num_folds is None else num_folds)) if folds is None else list(folds)
    files: dict[int | str, Path] = {f: folder / f"fold_{f}" / "validation" / CLASSIFICATION_NAME for f in wanted}
    missing = [str(fold) for fold, path in files.items() if not path.is_file()]
    there = sorted(
        int(name)
        for path in folder.glob(f"fold_*/validation/{CLASSIFICATION_NAME}")
        if (name := path.parent.parent.name.removeprefix("fold_")).isdigit()
    )
    if missing and not there and (folder / "fold_all" / "validation" / CLASSIFICATION_NAME).is_file():
        fault = "expected the folds of a cross-validation, found fold all, which is trained on what it validates"
        raise InputError("not-out-of-fold", folder, fault, "train the folds of the cross-validation: 0, 1, ...")
    if missing:
        fault = f"expected {CLASSIFICATION_NAME} of the folds {', '.join(map(str, wanted))}, found none of "
        choice = f", or name those there are: --folds {' '.join(map(str, there))}" if there else ""
        remedy = f"train these folds, or validate them again with --val{choice}"
        raise InputError("missing-folds", folder, fault + ", ".join(missing), remedy)
    return files


def join_documents(files: Mapping[int | str, Path]) -> dict[str, Any]:
    """Return the out-of-fold table of several folds, ready for strict JSON.

    Args:
        files: a classification.json by fold.

    Raises:
        InputError, InputErrors: those of `join_folds`; a case that says it is of another fold.
    """
    join_folds(files)  # refuses other models, other targets and cases in two folds
    parts = {fold: read_json(path) for fold, path in files.items()}
    errors = list(_fold_faults(files, parts))
    if errors:
        raise InputErrors(errors)
    first = next(iter(parts.values()))
    hashes = {
        fold: digest
        for part in parts.values()
        for fold, digest in part.get("model", {}).get("checkpoint_sha256", {}).items()
    }
    known = {key: first["model"][key] for key in MODEL_KEYS if key in first.get("model", {})}
    cases = {
        case_id: {**entry, "fold": fold} for fold, part in parts.items() for case_id, entry in part["cases"].items()
    }
    return {
        "version": first["version"],
        "model": {**known, "folds": list(files), "checkpoint_sha256": hashes},
        **({"settings": first["settings"]} if "settings" in first else {}),
        "targets": first["targets"],
        "cases": dict(sorted(cases.items())),
    }


def score_table(document: Mapping[str, Any], where: str | Path) -> dict[str, Any]:
    """Return how well an out-of-fold table classifies, by target.

    The AUC is that of the cases of all folds together (pooled): it compares probabilities of different models, which
    may be lower than the AUC within each fold (`auc_by_fold`). The interval is a bootstrap over patients, where the
    table names them, else over cases.

    Args:
        document: of `join_documents`, with the true labels in it.
        where: its file, for messages.

    Returns:
        "n", "missing_labels", "auc", "auc_interval" (two ends or two None), "accuracy", "balanced_accuracy" and
        "auc_by_fold"; numbers that are not defined are None.
    """
    predicted = parse_classification(document, Path(where))
    sidecar = LabelSidecar(
        dict(predicted.targets),
        {c: Case(dict(predicted.references.get(c, {})), group=predicted.groups.get(c)) for c in predicted.cases},
    )
    whole = score_cases(predicted, sidecar, list(predicted.cases))
    folds = list(dict.fromkeys(predicted.folds.values()))
    by_fold = {
        fold: score_cases(predicted, sidecar, [c for c in predicted.cases if predicted.folds[c] == fold], resamples=1)
        for fold in sorted(folds, key=str)
    }
    summary = {}
    for name, score in whole.items():
        interval = score["intervals"].get("auc", {"low": None, "high": None})
        summary[name] = {
            "n": score["n"],
            "missing_labels": score["missing_labels"],
            "auc": score["auc"],
            "auc_interval": [interval["low"], interval["high"]],
            "accuracy": score["accuracy"],
            "balanced_accuracy": score["balanced_accuracy"],
            "auc_by_fold": {str(fold): scores[name]["auc"] for fold, scores in by_fold.items()},
        }
    return summary


def _fold_faults(files: Mapping[int | str, Path], parts: Mapping[int | str, Any]) -> Iterator[InputError]:
    for fold, part in parts.items():
        others = sorted({str(entry.get("fold", fold)) for entry in part["cases"].values()} - {str(fold)})
        if others:
            fault = f"expected cases of fold {fold}, got some of fold {', '.join(others)}"
            yield InputError("other-fold", files[fold], fault, "put the file back into the folder of its fold")
