"""Join the validation predictions of all folds into one out-of-fold table.

The validation at the end of each fold leaves fold_X/validation/classification.json. Together they say of every case
what the one model predicts that was not trained on it, beside its true labels. Written are
classification_out_of_fold.json and the same as .csv, into the folder of the model.

    nnunet-multitask collect -d 200 -c 3d_fullres -tr nnUNetTrainerMultiTask
    nnunet-multitask collect -m MODEL_FOLDER --folds 0 1

The folds are those of splits_final.json of the dataset in nnUNet_preprocessed, else nnU-Net's five. Fold all has no
place in the table: it was trained on the cases that it validates.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nnunet_multitask.cli._nnunet import add_model, existing_model_folder
from nnunet_multitask.cli._outputs import check_output
from nnunet_multitask.cli._scoring import text_of
from nnunet_multitask.errors import InputError

HELP = "join the validation predictions of all folds into one out-of-fold table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``collect``."""
    add_model(parser)
    parser.add_argument(
        "--folds", nargs="+", metavar="N", help="folds to join (default: all of the splits, none may be missing)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE.json",
        help="the table to write, the CSV beside it (default: classification_out_of_fold.json in the model's folder)",
    )
    parser.add_argument("--json", action="store_true", help="print files and scores as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Join the folds, write JSON and CSV, print how well each target is classified."""
    from nnunet_multitask.documents import write_json
    from nnunet_multitask.evaluation.fold_tables import TABLE_NAME, folds_of_model, join_documents, score_table
    from nnunet_multitask.inference.writers import write_table

    folder = existing_model_folder(args)
    output = args.output or folder / TABLE_NAME
    if output.suffix != ".json":
        raise InputError("bad-output", output, f"expected a name ending in .json, got {output.name}", "name another")
    check_output(output, is_folder=False)
    files = folds_of_model(folder, _folds(args), _num_folds(folder))
    document = join_documents(files)
    scores = score_table(document, output)
    write_table(output.with_suffix(".csv"), document)
    write_json(output, document)
    if args.json:
        answer = {"output": str(output), "cases": len(document["cases"]), "folds": list(files), "targets": scores}
        print(json.dumps(answer, indent=2, allow_nan=False))
    else:
        print(f"{len(document['cases'])} cases of the folds {', '.join(str(fold) for fold in files)}")
        print("\n".join(describe(scores)))
        print(f"written: {output}, {output.with_suffix('.csv').name}")
    return 0


def describe(scores: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line for each target, and one for its folds."""
    for name, score in scores.items():
        low, high = score["auc_interval"]
        ends = "" if low is None else f" ({low:.3f} to {high:.3f})"
        yield (
            f"{name}: n = {score['n']}, {score['missing_labels']} without a label; AUC {text_of(score['auc'])}{ends}  "
            f"accuracy {text_of(score['accuracy'])}  balanced accuracy {text_of(score['balanced_accuracy'])}"
        )
        yield f"  AUC by fold: {', '.join(f'{fold} {text_of(auc)}' for fold, auc in score['auc_by_fold'].items())}"


def _folds(args: argparse.Namespace) -> list[int] | None:
    if args.folds is None:
        return None
    for fold in args.folds:
        if fold == "all":
            fault = "expected folds of a cross-validation, got all, which is trained on the cases that it validates"
            raise InputError("not-out-of-fold", "--folds all", fault, "name folds such as 0 1 2 3 4")
        if not fold.isdigit():
            raise InputError("bad-fold", f"--folds {fold}", f"expected numbers, got {fold!r}", "name folds such as 0 1")
    return [int(fold) for fold in dict.fromkeys(args.folds)]


def _num_folds(folder: Path) -> int | None:
    """Return how many folds the splits of the model's dataset have, None where they are not known."""
    from nnunet_multitask.datasets import optional_folder
    from nnunet_multitask.evaluation.trained_models import read_splits

    preprocessed = optional_folder("nnUNet_preprocessed")
    path = None if preprocessed is None else preprocessed / folder.absolute().parent.name / "splits_final.json"
    return len(read_splits(path)) if path is not None and path.is_file() else None
