"""Train a model. Takes the arguments of nnUNetv2_train and finds the trainers of this package by itself.

  nnunet-multitask train 200 3d_fullres 0 -tr nnUNetTrainerMultiTask -p nnUNetPlans -device cuda
  nnunet-multitask train 200 3d_fullres 0 --c        continue after an interruption

The stock command does the same once nnUNet_extTrainer is set: eval "$(nnunet-multitask env)".
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_multitask.cli._nnunet import (
    add_device,
    check_configuration,
    check_preprocessed,
    prepare_device,
    preprocessed_plans,
)
from nnunet_multitask.errors import InputError

HELP = "train a multi-task model or its baseline"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of nnUNetv2_train."""
    parser.add_argument("dataset_name_or_id", help="dataset, by name or id")
    parser.add_argument("configuration", help="configuration of the plans: 2d, 3d_fullres, ...")
    parser.add_argument("fold", help="fold of the cross-validation, 0 to 4, or all")
    parser.add_argument("-tr", default="nnUNetTrainerMultiTask", help="trainer (default: nnUNetTrainerMultiTask)")
    parser.add_argument("-p", default="nnUNetPlans", help="name of the plans (default: nnUNetPlans)")
    parser.add_argument("-pretrained_weights", metavar="FILE", help="checkpoint to start from")
    parser.add_argument("-num_gpus", type=int, default=1, help="number of GPUs (default: 1)")
    parser.add_argument("--npz", action="store_true", help="keep the probabilities of the final validation as npz")
    parser.add_argument("--c", action="store_true", help="continue from the latest checkpoint")
    parser.add_argument("--val", action="store_true", help="run the final validation only")
    parser.add_argument("--val_best", action="store_true", help="validate checkpoint_best instead of checkpoint_final")
    parser.add_argument("--disable_checkpointing", action="store_true", help="write no checkpoints")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Train as nnUNetv2_train does, after checks that name what is missing."""
    from nnunet_multitask import environment
    from nnunet_multitask.datasets import required_folder

    if args.c and args.val:
        raise InputError("contradiction", "--c --val", "expected one of the two, got both", "drop one")
    if args.fold != "all" and not args.fold.isdigit():
        raise InputError("bad-fold", "fold", f"expected a number or 'all', got {args.fold!r}", "name a fold")
    results = required_folder("nnUNet_results")
    folder, plans = preprocessed_plans(args.dataset_name_or_id, args.p)
    check_configuration(plans, args.configuration)
    check_preprocessed(folder, plans, args.configuration)
    _check_fold(folder, args.fold)
    model = results / folder.name / f"{args.tr}__{args.p}__{args.configuration}"
    if args.val and not (model / f"fold_{args.fold}" / "checkpoint_final.pth").is_file():
        raise InputError(
            "unfinished-training",
            model / f"fold_{args.fold}",
            "expected checkpoint_final.pth to validate, got none",
            "train the fold to its end, with --c where it was interrupted",
        )
    environment.activate()
    device = prepare_device(args.device)

    from nnunetv2.run.run_training import run_training
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        recursive_find_trainer_class_by_name(args.tr)
    except RuntimeError as error:
        from nnunet_multitask.discovery import multitask_trainers

        ours = ", ".join(multitask_trainers.__all__)
        fault = f"expected a trainer of nnU-Net or one of {ours}, got none"
        raise InputError("unknown-trainer", f"-tr {args.tr}", fault, "correct it") from error
    run_training(
        folder.name,
        args.configuration,
        args.fold,
        args.tr,
        args.p,
        args.pretrained_weights,
        args.num_gpus,
        args.npz,
        args.c,
        args.val,
        args.disable_checkpointing,
        args.val_best,
        device=device,
    )
    return 0


def _check_fold(dataset: Path, fold: str) -> None:
    """Refuse a fold that the split file does not hold; nnU-Net would make up a random one."""
    from nnunet_multitask.documents import read_json

    path = dataset / "splits_final.json"
    folds = len(read_json(path)) if path.is_file() else 5
    if fold != "all" and int(fold) >= folds:
        raise InputError("bad-fold", path, f"expected a fold from 0 to {folds - 1}, got {fold}", "name one, or all")
