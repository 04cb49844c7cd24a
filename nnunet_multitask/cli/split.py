"""Write splits_final.json: folds balanced by class that never part the scans of one patient.

nnU-Net takes the folds from $nnUNet_preprocessed/DATASET/splits_final.json where that file exists. The same seed gives
the same folds. An existing file with other folds is kept, unless --overwrite is given.
"""

from __future__ import annotations

import argparse
from typing import Any

HELP = "write folds balanced by class and patient"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``split``."""
    parser.add_argument("dataset", metavar="DATASET", help="id or name of a dataset in $nnUNet_raw")
    parser.add_argument("--folds", type=int, default=5, metavar="K", help="number of folds (default 5)")
    parser.add_argument("--seed", type=int, default=12345, help="who goes where (default 12345)")
    parser.add_argument("--overwrite", action="store_true", help="replace other folds")
    parser.add_argument("--json", action="store_true", help="print path and counts as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the folds, print how many cases of each class they have, and return 0."""
    import json

    from nnunet_multitask.datasets import find_dataset, list_image_channels, required_folder
    from nnunet_multitask.documents import read_json, write_json
    from nnunet_multitask.errors import InputError
    from nnunet_multitask.labels import SIDECAR_NAME, read_sidecar
    from nnunet_multitask.splits import fold_counts, make_splits

    raw = find_dataset(required_folder("nnUNet_raw"), args.dataset)
    path = required_folder("nnUNet_preprocessed") / raw.name / "splits_final.json"
    sidecar = read_sidecar(raw / SIDECAR_NAME)
    file_ending = read_json(raw / "dataset.json").get("file_ending", ".nii.gz")
    splits = make_splits(sidecar, list_image_channels(raw / "imagesTr", file_ending), args.folds, args.seed)
    if path.exists() and not args.overwrite and read_json(path) != splits:
        fault = "expected these folds or no file, found other folds"
        raise InputError("already-exists", path, fault, "use --overwrite; models of the old folds are then void")
    write_json(path, splits)
    counts = fold_counts(sidecar, splits)
    if args.json:
        print(json.dumps({"path": str(path), "folds": counts}))
        return 0
    for fold in counts:
        for part in ("train", "val"):
            print(f"fold {fold['fold']} {part:5} {_describe(fold[part])}")
    print(path)
    return 0


def _describe(part: dict[str, Any]) -> str:
    classes = [
        f"{target}: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count or name != "unknown")
        for target, counts in part["targets"].items()
    ]
    return "; ".join([f"{part['cases']} cases", *classes])
