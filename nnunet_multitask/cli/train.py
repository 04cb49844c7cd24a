"""Train a model. Takes the arguments of nnUNetv2_train and finds the trainers of this package by itself.

  nnunet-multitask train 200 3d_fullres 0 -tr nnUNetTrainerMultiTask -p nnUNetPlans -device cuda
  nnunet-multitask train 200 3d_fullres 0 --c        continue after an interruption

The stock command does the same once nnUNet_extTrainer is set: eval "$(nnunet-multitask env)".
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nnunet_multitask.cli._nnunet import (
    add_device,
    add_trust,
    check_configuration,
    check_preprocessed,
    find_trainer,
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
    parser.add_argument("--c", action="store_true", help="continue from the latest checkpoint, where there is one")
    parser.add_argument("--val", action="store_true", help="run the final validation only")
    parser.add_argument("--val_best", action="store_true", help="validate checkpoint_best instead of checkpoint_final")
    parser.add_argument("--disable_checkpointing", action="store_true", help="write no checkpoints")
    add_device(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Train as nnUNetv2_train does, after checks that name what is missing."""
    from nnunet_multitask import environment
    from nnunet_multitask.datasets import required_folder

    if args.c and args.val:
        raise InputError("contradiction", "--c --val", "expected one of the two, got both", "drop one")
    if args.pretrained_weights is not None and (args.c or args.val):
        fault = "expected pretrained weights at the start of a training, got them with --c or --val"
        raise InputError("contradiction", "-pretrained_weights", fault, "drop one")
    if args.val_best and args.disable_checkpointing:
        fault = "expected checkpoints to choose the best from, got --disable_checkpointing"
        raise InputError("contradiction", "--val_best", fault, "drop one")
    if args.fold != "all" and not args.fold.isdecimal():
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
    _check_batch(args, plans)
    if args.pretrained_weights is not None and not Path(args.pretrained_weights).is_file():
        remedy = "correct the path, or make the file with `nnunet-multitask pretrain-from`"
        raise InputError("missing-checkpoint", args.pretrained_weights, "expected a checkpoint, got no file", remedy)
    environment.activate()
    device = prepare_device(args.device)
    _check_gpus(args.num_gpus)

    from nnunetv2.run.run_training import run_training

    from nnunet_multitask.training.processes import safe_training

    trainer = find_trainer(args.tr)
    with safe_training(trust_checkpoint=args.trust_checkpoint):
        _check_checkpoints(args, trainer, model / f"fold_{args.fold}")
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


def _check_checkpoints(args: argparse.Namespace, trainer: Any, folder: Path) -> None:
    """Refuse files that nnU-Net would stumble over later, or that the trainer's network cannot take."""
    from nnunet_multitask.training.checkpoints import ExtraStateMixin, read_checkpoint
    from nnunet_multitask.training.multitask import MultiTaskMixin
    from nnunet_multitask.training.preconditions import check_pretrained

    if args.pretrained_weights is not None:
        has_branch = issubclass(trainer, MultiTaskMixin)
        check_pretrained(trainer, Path(args.pretrained_weights), has_branch=has_branch)
    if issubclass(trainer, ExtraStateMixin):  # reads its checkpoints with the same care itself
        return
    if args.c:  # nnU-Net takes the first one that is there
        names = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")
        for path in [folder / name for name in names if (folder / name).is_file()][:1]:
            read_checkpoint(path)
    if args.val:
        read_checkpoint(folder / "checkpoint_final.pth")
    best = folder / "checkpoint_best.pth"
    if args.val_best and (args.c or args.val) and best.is_file():  # a new training writes its own
        read_checkpoint(best)


def _check_batch(args: argparse.Namespace, plans: dict[str, Any]) -> None:
    """Refuse a number of GPUs that the device or the batch cannot be spread over."""
    where = f"-num_gpus {args.num_gpus}"
    if args.num_gpus < 1:
        raise InputError("bad-gpus", where, f"expected 1 or more, got {args.num_gpus}", "correct it")
    if args.num_gpus == 1:
        return
    if args.device != "cuda":
        fault = f"expected -device cuda, over which alone nnU-Net spreads a training, got {args.device}"
        raise InputError("bad-gpus", where, fault, "use -num_gpus 1")
    settings = plans["configurations"][args.configuration]
    while "batch_size" not in settings:
        settings = plans["configurations"][settings["inherits_from"]]
    if settings["batch_size"] < args.num_gpus:
        raise InputError(
            "bad-gpus",
            where,
            f"expected at most the batch size of the plans, {settings['batch_size']}, since each GPU gets a part of it",
            "use fewer, or a larger batch: `nnunet-multitask configure --batch-size`",
        )


def _check_gpus(num_gpus: int) -> None:
    import torch

    if num_gpus > 1 and torch.cuda.device_count() < num_gpus:
        fault = f"expected that many GPUs, torch finds {torch.cuda.device_count()}"
        raise InputError("bad-gpus", f"-num_gpus {num_gpus}", fault, "use fewer, or look at CUDA_VISIBLE_DEVICES")


def _check_fold(dataset: Path, fold: str) -> None:
    """Refuse a fold that the split file does not hold; nnU-Net would make up a random one."""
    from nnunet_multitask.evaluation.trained_models import read_splits

    path = dataset / "splits_final.json"
    folds = len(read_splits(path)) if path.is_file() else 5
    if fold != "all" and int(fold) >= folds:
        raise InputError("bad-fold", path, f"expected a fold from 0 to {folds - 1}, got {fold}", "name one, or all")
